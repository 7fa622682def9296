/** Tests whether the kernel can log packets to an nfnetlink_log group, which denied packets need. */
import { POLICY_LOG_GROUP, PROBE_LINK } from "../../../pkg/footprint.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import { log } from "../../../pkg/nft/log-statements.ts";
import { createTable, deleteTable, type Table } from "../../../pkg/nft/table.ts";
import type { Programmer } from "../../core/drivers/programmer.ts";

const STATEMENT = log({ prefix: "weft probe", group: POLICY_LOG_GROUP, snapLength: 0 });

/** No packet passes a chain without a hook. */
const TABLE: Table = {
  ...{ family: "inet", name: PROBE_LINK, comment: "removed at once", sets: [] },
  chains: [{ name: "log", rules: [{ statements: [STATEMENT], comment: "" }] }],
};

export class LogProbe {
  readonly #programmer: Pick<Programmer, "commit">;
  #hasLog: boolean | undefined;

  constructor(programmer: Pick<Programmer, "commit">) {
    this.#programmer = programmer;
  }

  /** False if the last test failed. A later one succeeds if the module has been loaded meanwhile. Undefined before the first test. */
  get last(): boolean | undefined {
    return this.#hasLog;
  }

  /** Tests the kernel, unless an earlier test succeeded. One transaction adds a rule and removes it. */
  async hasLog(): Promise<boolean> {
    this.#hasLog ||= await this.#test();
    return this.#hasLog;
  }

  async #test(): Promise<boolean> {
    try {
      await this.#programmer.commit([...createTable(TABLE), deleteTable(TABLE)]);
      return true;
    } catch (error) {
      if (isNetlinkError(error, "ENOENT", "EOPNOTSUPP")) return false;
      throw error;
    }
  }
}
