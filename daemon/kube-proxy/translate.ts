/**
 * Translates kube-proxy's settings (v1alpha1, 1.36) into weftd's flags. Notes list the settings with the same meaning,
 * those that weftd needs no flag for, the operator's tasks, and cases in which kube-proxy accepted more traffic. Pure.
 */
import { type Settings, settingAt, statedPaths } from "./configuration.ts";

/**
 * `same`: weftd does the same, with or without a flag. `do`: a task for the operator. `warning`: weftd differs. `none`:
 * weftd has no counterpart.
 */
export type NoteKind = "warning" | "do" | "same" | "none";

export interface Note {
  /** The setting's name in kube-proxy's configuration: "conntrack.maxPerCore". */
  readonly setting: string;
  readonly kind: NoteKind;
  readonly text: string;
}

export interface Translation {
  /** weftd's flags with their values. */
  readonly flags: readonly string[];
  readonly notes: readonly Note[];
}

export function translate(settings: Settings): Translation {
  const mode = textAt(settings, "mode") || "iptables";
  const reader = { settings, mode };
  const parts = [modeOf(reader), masqueradeOf(reader), nodePortsOf(reader), localOf(reader), sameFlagsOf(reader)];
  const flags = parts.flatMap((part) => part.flags);
  const notes = parts.flatMap((part) => part.notes);
  const told = new Set(notes.map(({ setting }) => setting));
  const rest = statedPaths(settings).filter((path) => !told.has(path) && !PASSED_OVER.has(path));
  return { flags, notes: [...notes, ...rest.map(otherNote)] };
}

interface Reader {
  readonly settings: Settings;
  readonly mode: string;
}

const PASSED_OVER: ReadonlySet<string> = new Set(["apiVersion", "kind"]);

function modeOf({ settings, mode }: Reader): Translation {
  const flags = ["--service-proxy nftables"];
  if (mode === "nftables") return { flags, notes: [same("mode", "weftd also uses the mode nftables")] };
  const notes: Note[] = [same("mode", `weftd uses the mode nftables instead of ${mode}`)];
  if (mode === "ipvs")
    notes.push(
      warning(
        "mode",
        "weftd does not remove what mode ipvs leaves behind; run kube-proxy --cleanup before weftd starts",
      ),
      ...(textAt(settings, "ipvs.scheduler") === "" || textAt(settings, "ipvs.scheduler") === "rr"
        ? []
        : [warning("ipvs.scheduler", "weftd chooses endpoints at random, with equal probability")]),
    );
  return { flags, notes };
}

/** Modes iptables and ipvs have the masquerade settings under `iptables`. */
function masqueradeOf({ settings, mode }: Reader): Translation {
  const section = mode === "nftables" ? "nftables" : "iptables";
  const all = `${section}.masqueradeAll`;
  const bit = `${section}.masqueradeBit`;
  const flags: string[] = [];
  const notes: Note[] = [];
  if (settingAt(settings, all) === true) {
    flags.push("--masquerade-all");
    notes.push(same(all, "--masquerade-all"));
  } else if (settingAt(settings, all) === false) notes.push(same(all, "also weftd's default"));
  const number = settingAt(settings, bit);
  if (typeof number === "number" && number !== DEFAULT_BIT) flags.push(`--masquerade-bit ${number}`);
  if (typeof number === "number")
    notes.push(same(bit, number === DEFAULT_BIT ? "also weftd's default" : `--masquerade-bit ${number}`));
  return { flags, notes };
}

const DEFAULT_BIT = 14;

function nodePortsOf({ settings, mode }: Reader): Translation {
  const setting = "nodePortAddresses";
  const stated = settingAt(settings, setting);
  const addresses = Array.isArray(stated) ? stated.map(String) : [];
  const isOpen = mode !== "nftables";
  const hasLocalhost = mode === "iptables" && settingAt(settings, "iptables.localhostNodePorts") !== false;
  const localhost = hasLocalhost ? [localhostNote(settings, addresses.length === 0 ? "all" : addresses.join(","))] : [];
  if (addresses.length === 0 && isOpen) {
    const text = `kube-proxy in mode ${mode} serves NodePorts on every address of the node${hasLocalhost ? ", and on 127.0.0.1" : ""}; weftd serves them only on the node's primary address of each family. To keep the other addresses: --nodeport-addresses all`;
    return { flags: [], notes: [warning(setting, text), ...localhost] };
  }
  if (addresses.length === 0) return { flags: [], notes: localhost };
  const flag = `--nodeport-addresses ${addresses.join(",")}`;
  const families = new Set(addresses.filter((text) => /[.:]/.test(text)).map((text) => (text.includes(":") ? 6 : 4)));
  const [family] = families;
  const oneSided =
    families.size === 1 && !addresses.includes("primary")
      ? [
          warning(
            setting,
            `all of these are IPv${family}: kube-proxy then serves NodePorts on every IPv${family === 4 ? 6 : 4} address, weftd on none`,
          ),
        ]
      : [];
  return { flags: [flag], notes: [same(setting, flag), ...oneSided, ...localhost] };
}

function localhostNote(settings: Settings, others: string): Note {
  const isStated = settingAt(settings, "iptables.localhostNodePorts") === true;
  const name = isStated ? "iptables.localhostNodePorts" : "iptables.localhostNodePorts (true if not stated)";
  return warning(
    name,
    `kube-proxy serves NodePorts on 127.0.0.1; weftd does so only with --nodeport-addresses ${others},localhost`,
  );
}

function localOf({ settings }: Reader): Translation {
  const notes: Note[] = [];
  const cidr = textAt(settings, "clusterCIDR");
  const detection = textAt(settings, "detectLocalMode");
  if (cidr !== "")
    notes.push(
      warning(
        "clusterCIDR",
        `kube-proxy treats every source in ${cidr} as a pod and does not masquerade it; weftd does so for the pods of this node (Node.spec.podCIDRs, and pods attached with other addresses)`,
      ),
    );
  if (detection !== "")
    notes.push(same("detectLocalMode", "weftd identifies its node's pods by podCIDRs and by its own attachments"));
  for (const key of ["detectLocal.bridgeInterface", "detectLocal.interfaceNamePrefix"])
    if (textAt(settings, key) !== "")
      notes.push(same(key, "weftd identifies its node's pods without an interface name"));
  return { flags: [], notes };
}

/** Flags of the same meaning, with the default values that both programs share. */
const SAME_FLAGS: Readonly<Record<string, readonly [flag: string, usual: readonly unknown[]]>> = {
  "conntrack.maxPerCore": ["--conntrack-max-per-core", [32_768]],
  "conntrack.min": ["--conntrack-min", [131_072]],
  "conntrack.tcpEstablishedTimeout": ["--conntrack-tcp-timeout-established", ["24h", "24h0m0s"]],
  "conntrack.tcpCloseWaitTimeout": ["--conntrack-tcp-timeout-close-wait", ["1h", "1h0m0s"]],
  "conntrack.udpTimeout": ["--conntrack-udp-timeout", ["0s"]],
  "conntrack.udpStreamTimeout": ["--conntrack-udp-timeout-stream", ["0s"]],
  "conntrack.tcpBeLiberal": ["--conntrack-tcp-be-liberal", [false]],
  healthzBindAddress: ["--healthz-bind-address", ["0.0.0.0:10256", ":10256"]],
  metricsBindAddress: ["--proxy-metrics-bind-address", ["127.0.0.1:10249"]],
};

function sameFlagsOf({ settings }: Reader): Translation {
  const stated = statedPaths(settings).flatMap((path) => {
    const [flag, usual] = SAME_FLAGS[path] ?? [];
    return flag === undefined || usual === undefined ? [] : [{ path, flag, usual, value: settingAt(settings, path) }];
  });
  const isUsual = ({ usual, value }: (typeof stated)[number]) => usual.includes(value);
  const asFlag = ({ flag, value }: (typeof stated)[number]) => (value === true ? flag : `${flag} ${value}`);
  return {
    flags: stated.filter((one) => !isUsual(one)).map(asFlag),
    notes: stated.map((one) => same(one.path, isUsual(one) ? "also weftd's default" : asFlag(one))),
  };
}

/** Settings not covered above. The longest matching start of a path applies. */
const OTHERS: readonly (readonly [start: string, kind: NoteKind, text: string])[] = [
  ["bindAddress", "same", "weftd takes the node's addresses from its Node"],
  ["bindAddressHardFail", "none", "weftd reports an address that it cannot listen on in /readyz, and retries"],
  ["clientConnection.kubeconfig", "same", "weftd uses its own service account, or --kubeconfig FILE"],
  ["clientConnection", "none", "weftd watches and sends few requests"],
  ["configSyncPeriod", "none", "weftd watches, and lists again only if a watch ends"],
  ["enableProfiling", "none", "weftd has /debug/state, for clients on the node"],
  ["featureGates", "none", "weftd has none; features that are stable in Kubernetes 1.36 are on"],
  ["hostnameOverride", "do", "--node-name NAME (the DaemonSet sets NODE_NAME)"],
  ["iptables", "none", "weftd writes no iptables rules for Services"],
  ["ipvs", "none", "mode nftables does not use IPVS"],
  ["logging", "do", "--log-level LEVEL; weftd's log is JSON"],
  ["nftables", "none", "weftd writes differences at once, and does not rewrite the rest"],
  ["oomScoreAdj", "do", "the pod's quality of service decides; see the resources of the DaemonSet"],
  ["portRange", "none", "kube-proxy itself no longer uses it"],
  ["showHiddenMetricsForVersion", "none", "weftd hides no metrics"],
  ["windowsRunAsService", "none", "weftd runs on Linux only"],
  ["winkernel", "none", "weftd runs on Linux only"],
];

function otherNote(path: string): Note {
  const [found] = OTHERS.filter(([start]) => path === start || path.startsWith(`${start}.`)).sort(
    ([a], [b]) => b.length - a.length,
  );
  if (found === undefined) return { setting: path, kind: "warning", text: "unknown setting; weftd has no counterpart" };
  return { setting: path, kind: found[1], text: found[2] };
}

function textAt(settings: Settings, path: string): string {
  const value = settingAt(settings, path);
  return typeof value === "string" ? value : "";
}

const same = (setting: string, text: string): Note => ({ setting, kind: "same", text });
const warning = (setting: string, text: string): Note => ({ setting, kind: "warning", text });
