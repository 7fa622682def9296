/** What the container runtime is offered: our network, in the place of a predecessor's where there is one. */

import { CONFLIST_NAME } from "../../../pkg/footprint.ts";
import type { Pass } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import { LastReports } from "../../core/last-reports.ts";
import type { Logger } from "../../core/log.ts";
import { type ConflistFolder, disable, readConflistFolder } from "../../sources/conflist-folder.ts";
import type { EventReporter } from "../../sources/events.ts";
import { type ConflistSettings, formatConflist, writeConflist } from "./conflist.ts";
import type { PluginTrial } from "./plugin-trial.ts";

export interface RuntimeOfferParts {
  readonly cniConfDir: string;
  /** What weft's plugins do not take of a conflist, in words. */
  readonly trial: Pick<PluginTrial, "complaints">;
  /** Takes away what flanneld has left; returns what that was, as commands. */
  readonly removeFlannelRules: () => Promise<readonly string[]>;
  readonly health: Health;
  readonly events: EventReporter;
  readonly log: Logger;
}

const RETRY_MS = 5000;

export class RuntimeOffer {
  readonly #parts: RuntimeOfferParts;
  readonly #reports = new LastReports();

  constructor(parts: RuntimeOfferParts) {
    this.#parts = parts;
  }

  /** Who stands where ours is to stand. */
  look(): Promise<ConflistFolder> {
    return this.#condition(() => readConflistFolder(this.#parts.cniConfDir));
  }

  /**
   * `later` asks for another pass. Ours is written first; then what it replaces goes. One with which no pod could start is not written: what stands there
   * stays in force.
   */
  async make(
    settings: Omit<ConflistSettings, "predecessor">,
    folder: ConflistFolder,
    later: Pass["later"],
  ): Promise<void> {
    const { cniConfDir, health, events, log } = this.#parts;
    const { predecessor, superseded } = folder;
    const conflist = formatConflist({ ...settings, predecessor });
    const complaints = await this.#condition(() => this.#parts.trial.complaints(conflist));
    if (complaints.length > 0) {
      this.#refuse(folder, complaints, later);
      return;
    }
    this.#reports.isNew("trial", "");
    await this.#condition(async () => {
      if (await writeConflist(cniConfDir, conflist)) log.info({ cniConfDir, file: CONFLIST_NAME }, "conflist written");
      await disable(cniConfDir, superseded);
    });
    if (superseded.length > 0) {
      log.info({ cniConfDir, superseded }, "flannel's network is taken over");
      const message = `weft has taken the node's pod network over from flannel; out of use: ${superseded.join(", ")}`;
      events.report({ type: "Normal", reason: "TakenOver", message });
    }
    this.#report(folder);
    health.holds("conflist", `${CONFLIST_NAME} in ${cniConfDir}`);
    if (predecessor !== undefined) await this.#clearUp();
  }

  /** Nothing tells of the file's correction: it is looked at again. */
  #refuse({ predecessor, superseded }: ConflistFolder, complaints: readonly string[], later: Pass["later"]): void {
    const { cniConfDir, health, events, log } = this.#parts;
    const why = `since no pod could start with what it says: ${complaints.join("; ")}`;
    const file = predecessor?.file;
    const reason =
      file === undefined
        ? `${CONFLIST_NAME} is not written, ${why}`
        : superseded.includes(file)
          ? `${file} in ${cniConfDir} is not taken over, ${why}; correct it there`
          : `${CONFLIST_NAME} is not written anew from ${file} in ${cniConfDir}, ${why}; correct it there`;
    health.fails("conflist", reason);
    later("the conflist is tried again", RETRY_MS);
    if (!this.#reports.isNew("trial", reason)) return;
    log.error({ reason }, "the runtime is not offered weft's network");
    events.report({ type: "Warning", reason: "ConflistRefused", message: reason });
  }

  async #condition<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#parts.health.fails("conflist", error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  /** Of flanneld's rules; what stays is in nobody's way, and nothing fails for it. */
  async #clearUp(): Promise<void> {
    const { removeFlannelRules, log } = this.#parts;
    try {
      const removed = await removeFlannelRules();
      if (removed.length > 0) log.info({ removed }, "flannel's rules are removed");
    } catch (error) {
      log.warn({ err: error }, "flannel's rules stay for now");
    }
  }

  /** What keeps the runtime from taking ours, and what was not taken over. */
  #report({ foreignFirst, problems }: ConflistFolder): void {
    const texts = [
      ...foreignFirst.map((name) => `${name} sorts before ${CONFLIST_NAME}: the runtime takes it; move it away`),
      ...problems,
    ];
    if (!this.#reports.isNew("conflists", texts.join("\n"))) return;
    const { log, cniConfDir, events } = this.#parts;
    for (const message of texts) events.report({ type: "Warning", reason: "ForeignConflist", message });
    if (texts.length > 0) log.warn({ cniConfDir, problems: texts }, "pods may be attached by another network");
    else log.info({ cniConfDir }, "no other network stands before weft's");
  }
}
