/**
 * `weft install --undo`: restores the executables that weft replaced, and converts weft's rules for running pods into
 * the rules that these executables check and remove.
 *
 * The order is: rules, executables, then again rules that weft's plugins wrote meanwhile. A DEL by weft in between
 * removes the reference's rules, too, but a DEL by the reference would leave weft's.
 */

import { EXECUTABLE } from "../../../pkg/footprint.ts";
import { describeOwner, ownerMark } from "../../../pkg/kernel/owner.ts";
import type { System } from "../../../pkg/sys/system.ts";
import { changeBlocks } from "../../change-report.ts";
import { fileStepText, takeFileStep } from "../../node/file-steps.ts";
import { readNetworks } from "../../node/networks.ts";
import { ExitStatus, type Outcome } from "../../outcome.ts";
import type { Build } from "../../subcommand.ts";
import { type BinDirectory, observeBinDirectory } from "../bin-directory.ts";
import { planRestoration, type Restoration } from "../restoration.ts";
import { type HandedOver, handOver, handOverTexts } from "./hand-over.ts";
import { foreignRuleText, lookAtAllRules, lookAtNode, type Node, type SeenRules } from "./look.ts";
import { removeSenderGuards, senderGuardRemovals } from "./sender-guards.ts";
import { describeObstacle, type HandOver, type Obstacle, planHandOver } from "./states.ts";
import { typesOf } from "./types.ts";

export interface UndoPlaces {
  readonly directory: string;
  readonly cniConfDir: string;
  readonly cacheDir: string | undefined;
}

interface Look {
  readonly node: Node;
  readonly bin: BinDirectory;
  readonly restoration: Restoration;
  readonly rules: SeenRules | undefined;
  readonly plan: HandOver;
}

const NOTHING: HandOver = { states: [], obstacles: [], doubts: [], stale: [], settled: [] };

/** Changes nothing. Throws `SystemError` and `NetlinkError`. */
export function dryRun(system: System, build: Build, places: UndoPlaces): Outcome {
  const look = lookAround(system, build, places);
  const { rules, plan, node, restoration } = look;
  const commands = [
    ...(rules === undefined || isEmpty(plan) ? [] : handOverTexts(system, rules, plan, node.nft)),
    ...restoration.steps.map(fileStepText),
    ...senderGuardRemovals(system).map(({ text }) => text),
  ];
  return outcomeOf(places, {
    commands,
    look,
    handedOver: parts(plan),
    refused: [],
    doubts: plan.doubts,
    failures: [],
    isDryRun: true,
  });
}

/** Throws `SystemError` and `NetlinkError`. */
export function undoInstallation(system: System, build: Build, places: UndoPlaces): Outcome {
  const before = lookAround(system, build, places);
  const commands = before.rules === undefined || isEmpty(before.plan) ? [] : textsOf(system, before);
  const first = carryOutHandOver(system, before);
  const failures: string[] = [];
  for (const step of before.restoration.steps) {
    try {
      takeFileStep(step, system);
      commands.push(fileStepText(step));
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  // weft's plugins add guards as long as they are installed.
  try {
    const guards = senderGuardRemovals(system);
    removeSenderGuards(system);
    commands.push(...guards.map(({ text }) => text));
  } catch (error) {
    failures.push(error instanceof Error ? error.message : String(error));
  }
  // Rules that plugins wrote meanwhile.
  const after = lookAround(system, build, places);
  const second = isEmpty(after.plan) ? { done: [], refused: first.refused } : carryOutHandOver(system, after);
  return outcomeOf(places, {
    ...{ commands, look: { ...after, restoration: before.restoration }, failures, isDryRun: false },
    handedOver: [...first.done, ...second.done],
    refused: second.refused,
    doubts: [...before.plan.doubts, ...after.plan.doubts],
  });
}

function textsOf(system: System, { rules, plan, node }: Look): string[] {
  return rules === undefined ? [] : handOverTexts(system, rules, plan, node.nft);
}

function carryOutHandOver(system: System, { plan, node }: Look): HandedOver {
  if (isEmpty(plan)) return { done: [], refused: [] };
  return handOver(system, plan, () => lookAtAllRules(system), node.nft);
}

function isEmpty({ states, stale, settled }: HandOver): boolean {
  return states.length + stale.length + settled.length === 0;
}

function parts({ states, stale, settled }: HandOver): Pick<Obstacle, "owner" | "part">[] {
  return [...states.map(({ owner, state }) => ({ owner, part: state.part })), ...stale, ...settled];
}

function lookAround(system: System, build: Build, { directory, cniConfDir, cacheDir }: UndoPlaces): Look {
  const node = lookAtNode(system, cacheDir);
  const bin = observeBinDirectory(directory, system);
  const configured = readNetworks(system, cniConfDir).files.flatMap(({ plugins }) => typesOf(plugins));
  const needed = new Set([...configured, ...node.cached.flatMap(({ plugins }) => typesOf(plugins))]);
  const restoration = planRestoration(bin, build.pluginNames, (name) => needed.has(name));
  const rules = lookAtAllRules(system);
  const isForeign = (name: string) => {
    const file = bin.files.get(name);
    return restoration.back.includes(name) || (file !== undefined && file.buildId === undefined);
  };
  const plan =
    rules === undefined ? NOTHING : planHandOver(rules.tables, { ...node, isForeign, hasNft: node.nft !== undefined });
  return { node, bin, restoration, rules, plan };
}

interface Told {
  readonly commands: readonly string[];
  readonly look: Look;
  readonly handedOver: readonly Pick<Obstacle, "owner" | "part">[];
  readonly refused: readonly Obstacle[];
  readonly doubts: readonly Obstacle[];
  readonly failures: readonly string[];
  readonly isDryRun: boolean;
}

function outcomeOf({ directory }: UndoPlaces, told: Told): Outcome {
  const { commands, look, handedOver, refused, isDryRun } = told;
  const { restoration, plan, rules } = look;
  const failures = [...refused.map(describeObstacle), ...told.failures];
  const left = [
    ...[...plan.obstacles, ...told.doubts].map(describeObstacle),
    ...(rules?.foreign ?? []).map(foreignRuleText),
    ...shapedSubnetTexts(look.node),
    ...restoration.kept.map((name) => `${directory}/${name}: ${whyKept(name)}`),
    ...restoration.left,
  ];
  return {
    status: failures.length > 0 ? ExitStatus.failed : ExitStatus.done,
    blocks: changeBlocks({
      ...{ commands, failures, left, isDryRun },
      nothing: `${directory} contains no files of weft, and no pod has rules of weft; nothing to do.`,
    }),
    data: {
      ...{ directory, dryRun: isDryRun, changed: !isDryRun && commands.length > 0, commands },
      ...{ restored: restoration.back, removed: restoration.gone, kept: restoration.kept },
      handedOver: handedOver.map(({ owner, part }) => ({ owner, part })),
      ...{ left, failures },
    },
  };
}

/** Version 1.9 of the reference ignores these keys, and its CHECK looks for token buckets that do not exist. */
function shapedSubnetTexts({ cached, subnetShapers }: Node): string[] {
  const configured = cached
    .filter(({ plugins }) => plugins.some((plugin) => plugin.has("shapedSubnets") || plugin.has("unshapedSubnets")))
    .map((attachment) => ownerMark(attachment));
  return [...new Set([...configured, ...subnetShapers.map(({ alias }) => alias)])].map((owner) => {
    const device = subnetShapers.find(({ alias }) => alias === owner)?.name;
    const rest = device === undefined ? "" : `; once the pod is gone, run ip link del ${device}`;
    return `bandwidth of ${describeOwner(owner)}: CHECK of a reference plugin without shapedSubnets fails${rest}`;
  });
}

function whyKept(name: string): string {
  return name === EXECUTABLE
    ? "the plugins that are kept are links to it"
    : "a configuration or a pod needs it, and weft install replaced no other file of that name";
}
