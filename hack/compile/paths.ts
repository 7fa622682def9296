import { resolve } from "node:path";

/** The repository's folder. */
export const ROOT = resolve(import.meta.dirname, "../..");
export const DIST = `${ROOT}/dist`;
/** Intermediate files of the build: bundles and bytecode. */
export const WORK = `${ROOT}/.cache/build`;
/** The folder with qjsc, libquickjs.a, quickjs.h and musl, which the set-up creates. */
export const QUICKJS = process.env.QUICKJS_DIR ?? `${ROOT}/.cache/quickjs`;
