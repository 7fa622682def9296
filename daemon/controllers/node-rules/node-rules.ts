/**
 * Maintains kernel settings for pods' packets, and rules in forward chains of iptables-legacy. `firewall` maintains the
 * nftables.
 */
import type { Address } from "../../../pkg/ip/address.ts";
import { parseLink } from "../../../pkg/kernel/link.ts";
import { readSysctl, sysctlPath } from "../../../pkg/kernel/sysctl.ts";
import { RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import { decode } from "../../../pkg/netlink/message.ts";
import { NETCONFA_IFINDEX_ALL, RTM_NEWNETCONF } from "../../../pkg/netlink/netconf.ts";
import { type StepPlan, settingStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Controller, Pass, PlanOutcome, Subscriptions } from "../../core/controller.ts";
import { errorsOf } from "../../core/controller-pass.ts";
import type { SettingWatch } from "../../core/drivers/setting-watch.ts";
import type { Setting } from "../../core/drivers/settings.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import type { KernelView, Observation } from "../../core/shared-kernel.ts";
import type { Facts, Subscribable } from "../../core/topic.ts";
import type { Options } from "../../options.ts";
import type { ConflistFolder } from "../../sources/conflist-folder.ts";
import { namesOf } from "../../sources/predecessor.ts";
import { NODE_CHOICE, type NodeChoice, PODS_SEEN, PROGRAMMED_WAY } from "../facts.ts";
import { bridgeFilterSettings } from "./bridge-filter.ts";
import { advertisedLinks, forwardingSettings } from "./forwarding.ts";
import type { LegacyForward } from "./legacy-forward.ts";
import { podRanges } from "./ranges.ts";

export interface NodeRulesParts {
  readonly options: Pick<Options, "attach">;
  readonly facts: Facts;
  /** Reads the conflists, which name the pods' bridge. */
  readonly conflists: () => Promise<ConflistFolder>;
  readonly files: Files;
  readonly settingWatch: Pick<SettingWatch, "follow">;
  /** Notified when another program has written a setting that `settingWatch` watches. */
  readonly settingChange: Subscribable;
  readonly legacyForward: Pick<LegacyForward, "ensure">;
  readonly health: Pick<Health, "holds" | "fails">;
  readonly log: Logger;
}

export interface WantedSettings {
  readonly choice: NodeChoice;
  /** The name of the pods' bridge. */
  readonly bridge: string;
}

export interface SeenSettings {
  /** The desired settings, in the order in which to set them. */
  readonly wanted: readonly (Setting & { readonly current: string | undefined })[];
}

const FULL_COMPARISON_MS = 60_000;

export class NodeRulesController implements Controller<WantedSettings, SeenSettings> {
  readonly name = "node-rules";
  readonly subscriptions: Subscriptions;
  readonly #parts: NodeRulesParts;
  /**
   * Settings that an earlier pass has compared or set. A difference now means that another program changed the setting.
   */
  readonly #settled = new Set<string>();
  /** Links with relevant settings, as the last pass has observed them. */
  #links: WatchedLinks = { names: new Set(), indexes: new Set() };
  /** Errors of reads during this pass. */
  #problems: unknown[] = [];

  constructor(parts: NodeRulesParts) {
    const { facts, health } = parts;
    this.#parts = parts;
    this.subscriptions = {
      topics: [facts.of(NODE_CHOICE), facts.of(PROGRAMMED_WAY), facts.of(PODS_SEEN), parts.settingChange],
      reasonFor: (message) => {
        const reason = settingReason(message, this.#links);
        return reason === undefined ? undefined : { reason, isPatient: message.portId === 0 };
      },
      intervalMs: FULL_COMPARISON_MS,
    };
    health.fails("reconcile", "not tried yet", this.name);
  }

  async desired(): Promise<WantedSettings | undefined> {
    const choice = this.#parts.facts.of(NODE_CHOICE).value;
    if (choice === undefined) return undefined;
    this.#problems = [];
    // `attach` reports a directory that cannot be read.
    const folder = await this.#parts.conflists().catch(() => undefined);
    return { choice, bridge: namesOf(folder?.predecessor).bridge };
  }

  async observe(kernel: KernelView, { choice, bridge }: WantedSettings): Promise<SeenSettings> {
    const { files, options, facts } = this.#parts;
    const observation = await kernel.snapshot();
    const families = new Set(choice.node.subnets.map(({ address }) => address.family));
    const devices = [...choice.devices, bridge];
    this.#links = watchedLinks([choice.underlayName, ...devices], observation);
    const advertised = advertisedLinks(observation.state);
    const isBridged = options.attach === "bridge" || facts.of(PODS_SEEN).value?.hasPorts === true;
    const wanted = [
      ...forwardingSettings(files, families, choice.underlayName, devices, advertised),
      ...(isBridged ? this.#bridgeFilter(families) : []),
    ];
    return { wanted: wanted.map((setting) => ({ ...setting, current: readSysctl(files, setting.name) })) };
  }

  plan(_wanted: WantedSettings, { wanted }: SeenSettings): StepPlan {
    const different = wanted.filter(({ value, current }) => current !== value);
    const isRepair = ({ name }: Setting) => this.#settled.has(name.join("."));
    return { steps: different.map((setting) => settingStep(setting.name, setting.value, isRepair(setting))) };
  }

  errorsOf({ failures }: PlanOutcome<WantedSettings, SeenSettings>): readonly unknown[] {
    return [...errorsOf(failures), ...this.#problems];
  }

  async settled({ reasons }: Pass, outcome: PlanOutcome<WantedSettings, SeenSettings>): Promise<void> {
    const { settingWatch, legacyForward, log } = this.#parts;
    const { desired, observed, done } = outcome;
    for (const { name } of observed.wanted) this.#settled.add(name.join("."));
    settingWatch.follow(observed.wanted.map(({ name }) => sysctlPath(name)));
    const settings = done.map(({ text }) => text);
    if (settings.length > 0) log.info({ reasons, changes: settings.length, settings }, "kernel settings changed");
    const rules = await legacyForward.ensure(podRanges(desired.choice));
    if (rules.length > 0) log.info({ reasons, changes: rules.length, rules }, "rules of iptables-legacy added");
  }

  succeeded(): void {
    const { health, facts } = this.#parts;
    if (facts.of(NODE_CHOICE).value !== undefined) health.holds("reconcile", "", this.name);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    health.fails("reconcile", error instanceof Error ? error.message : String(error), this.name);
    log.error({ err: error, retryMs: Math.round(retryMs) }, "this node's settings are not programmed");
  }

  /** Returns no settings if the kernel does not have them; the pass then fails. */
  #bridgeFilter(families: ReadonlySet<Address["family"]>): readonly Setting[] {
    try {
      return bridgeFilterSettings(this.#parts.files, families);
    } catch (error) {
      this.#problems.push(error);
      return [];
    }
  }
}

/** Links with relevant settings. */
export interface WatchedLinks {
  /** Names of links, existing or not. */
  readonly names: ReadonlySet<string>;
  /** Indexes of the existing links. */
  readonly indexes: ReadonlySet<number>;
}

/**
 * Returns why `message` triggers a comparison: a forwarding setting of all links or of one of `links` has changed, or
 * one of them was re-created with new settings.
 */
export function settingReason(message: Message, { names, indexes }: WatchedLinks): string | undefined {
  if (message.type === RTM_NEWLINK.type) {
    const { index, name } = parseLink(message);
    return names.has(name) && !indexes.has(index) ? `link ${name}` : undefined;
  }
  if (message.type !== RTM_NEWNETCONF.type) return undefined;
  const { index = 0 } = decode(RTM_NEWNETCONF, message).attributes;
  return index === NETCONFA_IFINDEX_ALL || indexes.has(index) ? "setting" : undefined;
}

function watchedLinks(names: readonly string[], { state }: Observation): WatchedLinks {
  const there = state.links.filter(({ name }) => names.includes(name));
  return { names: new Set(names), indexes: new Set(there.map(({ index }) => index)) };
}
