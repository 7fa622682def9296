/** `npm run bench -- scale`: one weftd among up to 5,000 Nodes. Exits with 1 where a bound is missed. */
import Table from "cli-table3";
import { type Programming, ScaleBed } from "./bed.ts";

const SIZES = [100, 1000, 5000];
const ROUNDS = 5;
const CHANGES_PER_SECOND = 1000;
const CHURN_SECONDS = 10;
const RELISTED = 50;

const bed = await ScaleBed.make();
try {
  const table = new Table({
    head: ["Nodes", "weftd programs", "-batch", "ratio", "after the list", "after the start", "RSS", "CPU", "CPU idle"],
    colAligns: Array.from({ length: 9 }, () => "right" as const),
  });
  let ratio = Number.NaN;
  for (const size of SIZES) {
    await bed.populate(size);
    const rounds: Programming[] = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await bed.program());
    const [sentMs, batchMs] = [best(rounds.map((one) => one.sentMs)), best(rounds.map((one) => one.batchMs))];
    const use = rounds.at(-1)?.use;
    if (size === SIZES.at(-1)) ratio = sentMs / batchMs;
    table.push([
      size,
      `${sentMs.toFixed(0)} ms`,
      `${batchMs.toFixed(0)} ms`,
      (sentMs / batchMs).toFixed(2),
      `${best(rounds.map((one) => one.weftdMs)).toFixed(0)} ms`,
      `${best(rounds.map((one) => one.startMs)).toFixed(0)} ms`,
      `${((use?.residentBytes ?? 0) / 2 ** 20).toFixed(0)} MiB`,
      `${(use?.cpuSeconds ?? 0).toFixed(2)} s`,
      `${(await bed.idle(10)).toFixed(3)} s in 10 s`,
    ]);
  }
  console.log(table.toString());
  const churn = await bed.churn(CHANGES_PER_SECOND, CHURN_SECONDS);
  console.log(
    `${churn.changes} Node changes in ${churn.seconds} s: ${churn.passes} passes, ${churn.cpuSeconds.toFixed(1)} s of CPU, ` +
      `all in the kernel ${churn.settledMs.toFixed(0)} ms after the last, none lost`,
  );
  const relist = await bed.relist(RELISTED);
  const removed = new Set(relist.removed).size;
  console.log(
    `A relist of ${SIZES.at(-1)} Nodes, of which ${relist.left} had left and ${relist.came} come: ${removed} routes removed, ` +
      `done in ${relist.settledMs.toFixed(0)} ms`,
  );
  process.exitCode = ratio <= 1 && removed === relist.left ? 0 : 1;
} finally {
  await bed.close();
}

/** Of several rounds the one that other programs disturbed least. */
function best(values: readonly number[]): number {
  return Math.min(...values);
}
