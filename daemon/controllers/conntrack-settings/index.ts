/** Maintains the connection tracking settings while weftd programs Services or enforces policies. */
import { cpus } from "node:os";
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import { settingStep } from "../../../pkg/reconcile/plan-step.ts";
import { isSystemError } from "../../../pkg/sys/errors.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Controller } from "../../core/controller.ts";
import { errorsOf, runnable } from "../../core/controller-pass.ts";
import { SettingError } from "../../core/drivers/settings.ts";
import type { Health } from "../../core/health.ts";
import type { Facts } from "../../core/topic.ts";
import type { ConntrackOptions } from "../../proxy-place-options.ts";
import type { ControllerFactory } from "../context.ts";
import { POLICY_STATE, PROXY_TURN } from "../facts.ts";
import {
  CONNTRACK_SETTINGS,
  type ConntrackValues,
  conntrackSysctl,
  timestampSetting,
  wantedSettings,
} from "./wanted.ts";

const FULL_COMPARISON_MS = 60_000;

export interface ConntrackSettingsParts {
  readonly options: ConntrackOptions;
  readonly facts: Facts;
  readonly files: Files;
  readonly health: Pick<Health, "warns">;
  readonly processors: number;
}

/** The features that need settings. At least one is in use. */
export interface ConntrackUse {
  /** True while weftd programs Services. */
  readonly isProxy: boolean;
  /** True while weftd enforces policies. */
  readonly isPolicy: boolean;
}

export function conntrackSettingsController(parts: ConntrackSettingsParts): Controller<ConntrackUse, ConntrackValues> {
  const { options, facts, files, health, processors } = parts;
  const turn = facts.of(PROXY_TURN);
  const policies = facts.of(POLICY_STATE);
  return {
    name: "conntrack-settings",
    subscriptions: { topics: [turn, policies], intervalMs: FULL_COMPARISON_MS },
    desired: () => {
      const isPolicy = policies.value?.mode === "enforce" && policies.value.hasPolicies;
      const isProxy = turn.value?.isOurs === true;
      return isProxy || isPolicy ? { isProxy, isPolicy } : undefined;
    },
    observe: () => readValues(files),
    plan: ({ isProxy, isPolicy }, present) => {
      const settings = [
        ...(isProxy ? wantedSettings(options, present, processors) : []),
        ...(isPolicy ? timestampSetting(present) : []),
      ];
      return { steps: settings.map(({ setting, value }) => settingStep(conntrackSysctl(setting), String(value))) };
    },
    // In a network namespace other than the host's, some settings are read-only. Services and policies work without
    // them.
    errorsOf: ({ failures }) => {
      const refused = failures.filter(({ error }) => isRefused(error));
      health.warns(
        "conntrack settings",
        refused.map(({ error }) => (error as Error).message),
      );
      return errorsOf(failures.filter((failure) => !refused.includes(failure)));
    },
  };
}

function readValues(files: Files): ConntrackValues {
  const values = CONNTRACK_SETTINGS.map((setting) => {
    const text = readSysctl(files, conntrackSysctl(setting));
    return [setting, text === undefined ? undefined : Number(text)] as const;
  });
  return Object.fromEntries(values) as ConntrackValues;
}

function isRefused(error: unknown): boolean {
  return error instanceof SettingError && isSystemError(error.cause, "EACCES", "EPERM", "EROFS");
}

export const conntrackSettings: ControllerFactory = ({ options, facts, files, health, drivers, newGate }) => {
  if (options.serviceProxy === "none" && !options.pods) return undefined;
  const processors = cpus().length;
  return runnable(conntrackSettingsController({ options, facts, files, health, processors }), {
    drivers,
    gate: newGate(),
  });
};
