/** Refusals with their errno. */

/** asm-generic/errno-base.h, errno.h */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  E2BIG: 7,
  ENOMEM: 12,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENFILE: 23,
  EMLINK: 31,
  ERANGE: 34,
  ENODATA: 61,
  EOVERFLOW: 75,
  ERESTART: 85,
  EOPNOTSUPP: 95,
} as const;
export type ErrnoName = keyof typeof ERRNO;

export class Refusal extends Error {
  readonly errno: number;

  constructor(name: ErrnoName) {
    super(name);
    this.errno = ERRNO[name];
  }
}

/** Throws `Refusal` EINVAL if `value` is missing, because the attribute is mandatory. */
export function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Refusal("EINVAL");
  return value;
}

/** Throws `Refusal` ENOENT if the object does not exist. */
export function existing<T>(value: T | undefined): T {
  if (value === undefined) throw new Refusal("ENOENT");
  return value;
}

/** NFT_NAME_MAXLEN, which includes the NUL. */
const LONGEST_NAME = 256;
const encoder = new TextEncoder();

/** Checks an optional name. Throws `Refusal` ERANGE if it exceeds 255 bytes. */
export function checkName(name: string | undefined): string | undefined {
  if (name !== undefined && encoder.encode(name).length >= LONGEST_NAME) throw new Refusal("ERANGE");
  return name;
}

/** NFT_USERDATA_MAXLEN */
const LONGEST_USERDATA = 256;

/** Checks optional user data. Throws `Refusal` ERANGE if it exceeds 256 bytes. */
export function checkUserdata(userdata: Uint8Array | undefined): Uint8Array | undefined {
  if (userdata !== undefined && userdata.length > LONGEST_USERDATA) throw new Refusal("ERANGE");
  return userdata;
}
