/**
 * Proxies between the two kinds of pods. Pods on the bridge treat this node's entire subnet as on-link, and send ARP
 * and neighbour requests for a pod that has a link of its own. While a node has both kinds, it answers these requests
 * on the bridge (proxy ARP, proxy ND) and forwards the packets.
 */
import type { Address, Family } from "../../../pkg/ip/address.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import { type ProxySetting, proxySettings } from "../../../pkg/kernel/neighbour-proxy.ts";
import { readSysctl, settingObject } from "../../../pkg/kernel/sysctl.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import type { Gate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Attempts } from "../../core/attempts.ts";
import { type Programmer, RefusedError } from "../../core/drivers/programmer.ts";
import { ensureSetting, type Setting } from "../../core/drivers/settings.ts";

export interface PodProxyParts {
  readonly programmer: Pick<Programmer, "answerFor">;
  readonly contention: Pick<Gate, "mayPutBack">;
  readonly files: Files;
}

export interface DesiredPodProxy {
  readonly families: ReadonlySet<Family>;
  /** Undefined if there is no bridge. */
  readonly bridge: Link | undefined;
  /** True if pods of both kinds exist, or will exist. */
  readonly isWanted: boolean;
  /** The addresses of pods with links of their own. */
  readonly podAddresses: readonly Address[];
}

export interface KeptProxy {
  /** Each changed setting as "name=value". */
  readonly settings: readonly string[];
  /** Settings that must keep their values. */
  readonly watched: readonly Setting[];
  readonly requests: readonly Request[];
}

const NOTHING: KeptProxy = { settings: [], watched: [], requests: [] };

export class PodProxy {
  readonly #parts: PodProxyParts;
  /** The bridge's index if the last pass made it answer, else 0. Undefined before the first pass. */
  #index: number | undefined;

  constructor(parts: PodProxyParts) {
    this.#parts = parts;
  }

  async keep({ families, bridge, isWanted, podAddresses }: DesiredPodProxy, attempts: Attempts): Promise<KeptProxy> {
    const before = this.#index;
    this.#index = isWanted ? (bridge?.index ?? 0) : 0;
    if (bridge === undefined) return NOTHING;
    const groups = [...families].map((family) => proxySettings(bridge.name, family));
    if (isWanted) {
      // IPv4 needs no entry for each pod: a new pod is reachable when its ADD returns. The kernel answers only for addresses that
      // its routes lead elsewhere, so never for the bridge's own pods.
      const settings = groups.flat();
      const changed = await this.#keepSettings(settings, before === bridge.index, attempts);
      const requests = await this.#keepEntries(families, bridge, podAddresses, attempts);
      return { settings: changed, watched: settings, requests };
    }
    if (before === 0) return NOTHING;
    // An earlier weftd may have been stopped in between. Its settings are recognised by being set all together.
    const own = before === undefined ? groups.filter((group) => this.#isSet(group)) : groups;
    const settings = await this.#keepSettings(own.flat().map(this.#initial), false, attempts);
    const requests = await this.#keepEntries(families, bridge, [], attempts);
    return { settings, watched: [], requests };
  }

  /** With `isRepair`, a change means that another program has undone the setting, and is counted. */
  async #keepSettings(wanted: readonly Setting[], isRepair: boolean, attempts: Attempts): Promise<string[]> {
    const { files, contention } = this.#parts;
    const changed: string[] = [];
    for (const setting of wanted) {
      // The bridge was removed in the meantime, and its settings with it.
      if (readSysctl(files, setting.name) === undefined) continue;
      const { name, value } = setting;
      const isAllowed = () =>
        !isRepair || contention.mayPutBack(settingObject(name), () => `${name.join(".")}=${value}`);
      const text = await attempts.try(() => ensureSetting(files, setting, isAllowed));
      if (text !== undefined) changed.push(text);
    }
    return changed;
  }

  /** Maintains the proxy entries. IPv4 needs none. */
  async #keepEntries(
    families: ReadonlySet<Family>,
    { index }: Link,
    podAddresses: readonly Address[],
    attempts: Attempts,
  ): Promise<readonly Request[]> {
    const { programmer } = this.#parts;
    if (!families.has(6)) return [];
    const sent = await attempts.try(async () => {
      const wanted = podAddresses.filter(({ family }) => family === 6);
      const { requests, refusals } = await programmer.answerFor(index, 6, wanted);
      if (refusals.length > 0) throw new RefusedError(refusals);
      return requests;
    });
    return sent ?? [];
  }

  #isSet(group: readonly ProxySetting[]): boolean {
    // Settings have no owner. Only a weftd that was stopped while one kind of pods went leaves both behind.
    return group.every(({ name, value }) => readSysctl(this.#parts.files, name) === value);
  }

  readonly #initial = ({ name, default: general, initial }: ProxySetting): Setting => {
    return { name, value: readSysctl(this.#parts.files, general) ?? initial };
  };
}
