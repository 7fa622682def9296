/** The format of a plugin's table of cases. A table is data: it does not depend on which executable is called. */

export type Version = "0.1.0" | "0.2.0" | "0.3.0" | "0.3.1" | "0.4.0" | "1.0.0" | "1.1.0";
export const VERSIONS: readonly Version[] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

export type Verb = "ADD" | "CHECK" | "DEL" | "STATUS" | "GC" | "VERSION";

/**
 * Namespaces of a case. Plugins are called in `node`, with private /var/lib/cni and /run/cni. `outside` is connected to
 * the node by up0 (198.51.100.1/24, 2001:db8:1::1/64; the node's default routes use it) and has the addresses that end
 * in 2.
 */
export type Place = "node" | "pod" | "other" | "outside";

/** One call. A verb alone is short for `{ verb }`. */
export interface Call {
  readonly verb: Verb;
  /** Keys that replace those of the case's configuration; `undefined` removes one. */
  readonly conf?: Readonly<Record<string, unknown>>;
  /** Default: c1, or c2 if `pod` is "other". */
  readonly containerId?: string;
  /** Default: the case's, or eth0. */
  readonly ifName?: string;
  /** CNI_ARGS. Default: the case's, or none. */
  readonly args?: string;
  /** The namespace in CNI_NETNS: "none" for an empty variable, "gone" for a path that does not exist. Default: pod. */
  readonly pod?: "pod" | "other" | "none" | "gone";
  /**
   * False if the runtime has lost the result of ADD. Otherwise CHECK gets it, and DEL from CNI 0.4.0 on. Default: true.
   */
  readonly remembers?: boolean;
  /**
   * "reference": calls the reference's executable on both sides, for attachments that one makes and the other deletes.
   * Default: each side's own.
   */
  readonly by?: "reference";
}

/** A shell script: a user's change in the place between two calls, or a query whose output is compared. */
export interface Script {
  readonly in: Place;
  readonly run: string;
}

/**
 * A TCP connection to one of the case's servers. Compares the client address that the server sees, or that there is no
 * answer.
 */
export interface Talk {
  readonly from: Place;
  readonly to: string;
  readonly port: number;
}

export type Step = Verb | Call | Script | Talk;

/** Downgrade: the reference's executables check and delete what weft attached. */
export const HANDED_BACK: readonly Step[] = [
  "ADD",
  { verb: "CHECK", by: "reference" },
  { verb: "DEL", by: "reference" },
];

export interface Case {
  /** Unique in its table. */
  readonly name: string;
  /**
   * The plugin's configuration. cniVersion, name ("net") and type are filled in. `$POD` and `$OTHER` are replaced by
   * paths.
   */
  readonly conf: Readonly<Record<string, unknown>>;
  /** Each of them makes a separate case. Default: ["1.1.0"]. */
  readonly versions?: readonly Version[];
  /** Default: ADD, CHECK, DEL, DEL. */
  readonly steps?: readonly Step[];
  readonly ifName?: string;
  readonly args?: string;
  /** Scripts that run before the first call. `$POD` and `$OTHER` are the pods' namespaces in them. */
  readonly setup?: readonly Script[];
  /**
   * Plugins before this one in the list. On both sides they are the reference's, so that only the tested plugin
   * differs. Their ADDs precede the case's ADD of the same pod, and their DELs follow its first DEL.
   */
  readonly before?: readonly Readonly<{ type: string } & Record<string, unknown>>[];
  /** Servers that tell each client the client's address as they see it. */
  readonly listening?: readonly { readonly in: Place; readonly port: number }[];
  /** True if there is a place `outside`. Default: false. */
  readonly uplink?: boolean;
  /**
   * True if the case needs features of the emulated machine's kernel (bridge VLANs, ipvlan, vlan, vrf, dummy, sctp).
   * Default: false.
   */
  readonly inVm?: boolean;
}

export interface Table {
  /** The executable's name. */
  readonly plugin: string;
  readonly cases: readonly Case[];
}
