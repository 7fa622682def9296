/** Labels for values that are random in each run: the same value has the same label everywhere in a case's story. */

/** An observed device, by its name in a place. */
export interface LabelledDevice {
  readonly name: string;
  readonly address: string;
}

const VETH = /\bveth[0-9a-f]{8}\b/g;
const HARDWARE_ADDRESS = /\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/g;
const NAMESPACE = /\/run\/netns\/weft-test-[a-z0-9-]+-([a-z]+)/g;
/** Zero and group addresses are never random. */
const CONSTANT = /^(00:){5}00$|^.[13579bdf]:/;

export class Labels {
  readonly #given: string;
  readonly #veths = new Map<string, string>();
  readonly #addresses = new Map<string, string>();

  /** Values in `given`, the case itself, are not random and get no label. */
  constructor(given: string) {
    this.#given = given.toLowerCase();
  }

  /** A hardware address is labelled with the first device that had it; of several devices, with a veth. */
  meet(devices: readonly LabelledDevice[]): void {
    const [veths, others] = [devices.filter(isVeth), devices.filter((device) => !isVeth(device))];
    for (const { name, address } of [...veths, ...others])
      if (!this.#addresses.has(address)) this.#addresses.set(address, `MAC of ${this.in(name)}`);
  }

  in(text: string): string {
    return text
      .replace(VETH, (name) => label(this.#veths, name, "veth"))
      .replace(HARDWARE_ADDRESS, (address) =>
        CONSTANT.test(address) || this.#given.includes(address) ? address : label(this.#addresses, address, "MAC "),
      )
      .replace(NAMESPACE, "NETNS of $1");
  }
}

const isVeth = ({ name }: LabelledDevice) => name.startsWith("veth");

function label(known: Map<string, string>, word: string, kind: string): string {
  const found = known.get(word) ?? `${kind}${known.size + 1}`;
  known.set(word, found);
  return found;
}
