/** What a plugin's table of cases is made of. A table is data: nothing in it knows which executable is called. */

export type Version = "0.1.0" | "0.2.0" | "0.3.0" | "0.3.1" | "0.4.0" | "1.0.0" | "1.1.0";
export const VERSIONS: readonly Version[] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

export type Verb = "ADD" | "CHECK" | "DEL" | "STATUS" | "GC" | "VERSION";

/**
 * Namespaces of a case. `node` is where plugins are called, with /var/lib/cni and /run/cni of its own. `outside` is joined
 * to the node by up0 (198.51.100.1/24, 2001:db8:1::1/64; the node's default routes lead there) and has the addresses
 * that end in 2.
 */
export type Place = "node" | "pod" | "other" | "outside";

/** One call. A verb alone stands for `{ verb }`. */
export interface Call {
  readonly verb: Verb;
  /** Keys that replace those of the case's configuration; `undefined` takes one away. */
  readonly conf?: Readonly<Record<string, unknown>>;
  /** [c1, or c2 where `pod` is "other"] */
  readonly containerId?: string;
  /** [the case's, or eth0] */
  readonly ifName?: string;
  /** CNI_ARGS. [the case's, or none] */
  readonly args?: string;
  /** Whose namespace CNI_NETNS names: "none" for an empty variable, "gone" for a path at which nothing is. [pod] */
  readonly pod?: "pod" | "other" | "none" | "gone";
  /** False: the runtime has lost the result of ADD. Otherwise CHECK gets it, and DEL from CNI 0.4.0 on. [true] */
  readonly remembers?: boolean;
  /** "reference": the reference's executable is called on both sides, for what one attached and the other deletes. [each its own] */
  readonly by?: "reference";
}

/** A shell script: what a user does to the place between two calls, or a question whose printed answer is compared. */
export interface Script {
  readonly in: Place;
  readonly run: string;
}

/** A TCP connection to a server of the case's; compared is the address the server sees, or that nobody answers. */
export interface Talk {
  readonly from: Place;
  readonly to: string;
  readonly port: number;
}

export type Step = Verb | Call | Script | Talk;

/** The way back: what ours attached, the reference's executables check and delete. */
export const HANDED_BACK: readonly Step[] = [
  "ADD",
  { verb: "CHECK", by: "reference" },
  { verb: "DEL", by: "reference" },
];

export interface Case {
  /** Unique in its table. */
  readonly name: string;
  /** The plugin's configuration; cniVersion, name ("net") and type are filled in. `$POD` and `$OTHER` stand for paths. */
  readonly conf: Readonly<Record<string, unknown>>;
  /** Each of them is a case of its own. ["1.1.0"] */
  readonly versions?: readonly Version[];
  /** [ADD, CHECK, DEL, DEL] */
  readonly steps?: readonly Step[];
  readonly ifName?: string;
  readonly args?: string;
  /** Scripts that run before the first call; `$POD` and `$OTHER` name the pods' namespaces in them. */
  readonly setup?: readonly Script[];
  /**
   * Plugins that stand before this one in the list. On both sides they are the reference's, so that only the plugin in
   * question differs; their ADDs come before the case's ADD of the same pod, their DELs after its first DEL.
   */
  readonly before?: readonly Readonly<{ type: string } & Record<string, unknown>>[];
  /** Servers that tell each client the address they see it under. */
  readonly listening?: readonly { readonly in: Place; readonly port: number }[];
  /** True: there is a place `outside`. [false] */
  readonly uplink?: boolean;
  /** True: this needs what only the emulated machine's kernel has (bridge VLANs, ipvlan, vlan, vrf, dummy, sctp). [false] */
  readonly inVm?: boolean;
}

export interface Table {
  /** The executable's name. */
  readonly plugin: string;
  readonly cases: readonly Case[];
}
