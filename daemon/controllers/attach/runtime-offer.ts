/** Offers weft's network to the container runtime, in place of a predecessor's if there is one. */

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
  /** Returns in words what weft's plugins reject in a conflist. */
  readonly trial: Pick<PluginTrial, "complaints">;
  /** Removes flanneld's rules. Returns the removals as commands. */
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

  /** Reads the runtime's directory. */
  look(): Promise<ConflistFolder> {
    return this.#condition(() => readConflistFolder(this.#parts.cniConfDir));
  }

  /**
   * Writes weft's conflist, then disables what it replaces. A conflist with which no pod could start is not written,
   * and the existing one stays in force. `later` requests another pass.
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
      log.info({ cniConfDir, superseded }, "network taken over from flannel");
      const message = `weft has taken the node's pod network over from flannel; disabled: ${superseded.join(", ")}`;
      events.report({ type: "Normal", reason: "TakenOver", message });
    }
    this.#report(folder);
    health.holds("conflist", `${CONFLIST_NAME} in ${cniConfDir}`);
    if (predecessor !== undefined) await this.#clearUp();
  }

  /** Reports the refusal. weftd is not notified when the file is corrected, so the conflist is tested again later. */
  #refuse({ predecessor, superseded }: ConflistFolder, complaints: readonly string[], later: Pass["later"]): void {
    const { cniConfDir, health, events, log } = this.#parts;
    const why = `because no pod could start with it: ${complaints.join("; ")}`;
    const file = predecessor?.file;
    const reason =
      file === undefined
        ? `${CONFLIST_NAME} is not written, ${why}`
        : superseded.includes(file)
          ? `${file} in ${cniConfDir} is not taken over, ${why}; correct that file`
          : `${CONFLIST_NAME} is not rewritten from ${file} in ${cniConfDir}, ${why}; correct that file`;
    health.fails("conflist", reason);
    later("the conflist is tested again", RETRY_MS);
    if (!this.#reports.isNew("trial", reason)) return;
    log.error({ reason }, "conflist refused; weft's network is not offered to the runtime");
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

  /** Removes flanneld's rules. Leftover rules do no harm, so a failure does not fail the pass. */
  async #clearUp(): Promise<void> {
    const { removeFlannelRules, log } = this.#parts;
    try {
      const removed = await removeFlannelRules();
      if (removed.length > 0) log.info({ removed }, "flannel's rules removed");
    } catch (error) {
      log.warn({ err: error }, "cannot remove flannel's rules; retrying later");
    }
  }

  /** Reports files that keep the runtime from using weft's conflist, and networks that were not taken over. */
  #report({ foreignFirst, problems }: ConflistFolder): void {
    const texts = [
      ...foreignFirst.map((name) => `${name} sorts before ${CONFLIST_NAME}, so the runtime uses it; move it away`),
      ...problems,
    ];
    if (!this.#reports.isNew("conflists", texts.join("\n"))) return;
    const { log, cniConfDir, events } = this.#parts;
    for (const message of texts) events.report({ type: "Warning", reason: "ForeignConflist", message });
    if (texts.length > 0) log.warn({ cniConfDir, problems: texts }, "pods may be attached by another network");
    else log.info({ cniConfDir }, "no other network's file sorts before weft's");
  }
}
