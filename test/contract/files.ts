/**
 * The contract of `Files` as scenarios. Each works in an empty folder next to a FIFO, and returns its observations.
 * Scenarios run in the implementation under test: in the test's process, or compiled for QuickJS.
 */
import type { Files } from "../../pkg/sys/system.ts";
import { bytesOf, type Outcome, outcome, textOf } from "./outcome.ts";

export interface FilesScenario {
  readonly run: (files: Files, folder: string) => Outcome;
  readonly expected: Outcome;
}

const LONG_NAME = "n".repeat(256);

export const filesScenarios: Readonly<Record<string, FilesScenario>> = {
  "written bytes are read back unchanged": {
    run(files, folder) {
      const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
      files.writeFile(`${folder}/all`, bytes);
      return [...files.readFile(`${folder}/all`)];
    },
    expected: Array.from({ length: 256 }, (_, at) => at),
  },
  "a file larger than any buffer is read completely": {
    run(files, folder) {
      files.writeFile(
        `${folder}/large`,
        Uint8Array.from({ length: 300_000 }, (_, at) => at % 251),
      );
      const read = files.readFile(`${folder}/large`);
      return [read.length, read.every((byte, at) => byte === at % 251)];
    },
    expected: [300_000, true],
  },
  "a name in UTF-8 is returned unchanged": {
    run(files, folder) {
      files.writeFile(`${folder}/größe-漢-😀`, bytesOf(""));
      return files.readDirectory(folder);
    },
    expected: ["größe-漢-😀"],
  },
  "writing replaces the content, and keeps mode and inode": {
    run(files, folder) {
      files.writeFile(`${folder}/f`, bytesOf("longer than before"), { mode: 0o600 });
      const before = files.status(`${folder}/f`);
      files.writeFile(`${folder}/f`, bytesOf("short"), { mode: 0o644 });
      const after = files.status(`${folder}/f`);
      return [textOf(files.readFile(`${folder}/f`)), after?.mode ?? -1, before?.inode === after?.inode];
    },
    expected: ["short", 0o600, true],
  },
  "a mode is subject to the umask": {
    run(files, folder) {
      files.writeFile(`${folder}/f`, bytesOf(""), { mode: 0o666 });
      files.makeDirectory(`${folder}/d`, 0o777);
      return [files.status(`${folder}/f`)?.mode ?? -1, files.status(`${folder}/d`)?.mode ?? -1];
    },
    expected: [0o644, 0o755],
  },
  "exclusive and existing state whether the file must exist": {
    run: (files, folder) => {
      const write = (name: string, options: object) =>
        outcome(folder, () => {
          files.writeFile(`${folder}/${name}`, bytesOf("new"), options);
          return "written";
        });
      return [
        write("f", { existing: true }),
        write("f", { exclusive: true }),
        write("f", { exclusive: true }),
        write("f", { existing: true }),
      ];
    },
    expected: ["ENOENT of f", "written", "EEXIST of f", "written"],
  },
  "a rejected exclusive write keeps the content": {
    run(files, folder) {
      files.writeFile(`${folder}/f`, bytesOf("first"));
      outcome(folder, () => {
        files.writeFile(`${folder}/f`, bytesOf("second"), { exclusive: true });
        return undefined;
      });
      return textOf(files.readFile(`${folder}/f`));
    },
    expected: "first",
  },
  "reading fails depending on what the path is": {
    run: (files, folder) => {
      files.writeFile(`${folder}/f`, bytesOf(""));
      files.makeDirectory(`${folder}/d`);
      const read = (path: string) => outcome(folder, () => textOf(files.readFile(path)));
      return [read(`${folder}/absent`), read(`${folder}/d`), read(`${folder}/f/below`), read(`${folder}/${LONG_NAME}`)];
    },
    expected: ["ENOENT of absent", "EISDIR of d", "ENOTDIR of f/below", `ENAMETOOLONG of ${LONG_NAME}`],
  },
  "a FIFO without a writer is empty, and does not block": {
    run: (files, folder) => textOf(files.readFile(`${folder}/../fifo`)),
    expected: "",
  },
  "writing fails depending on what the path is": {
    run: (files, folder) => {
      files.writeFile(`${folder}/f`, bytesOf(""));
      files.makeDirectory(`${folder}/d`);
      const write = (name: string) =>
        outcome(folder, () => {
          files.writeFile(`${folder}/${name}`, bytesOf("x"));
          return undefined;
        });
      return [write("absent/f"), write("d"), write("f/below")];
    },
    expected: ["ENOENT of absent/f", "EISDIR of d", "ENOTDIR of f/below"],
  },
  "a path with a zero byte is rejected, and touches nothing": {
    run: (files, folder) => {
      files.writeFile(`${folder}/f`, bytesOf("kept"));
      const refused = (work: () => void) =>
        outcome(folder, () => {
          work();
          return "let through";
        });
      const path = `${folder}/f\0.conf`;
      return [
        refused(() => files.readFile(path)),
        refused(() => files.writeFile(path, bytesOf("lost"))),
        refused(() => files.unlink(path)),
        refused(() => files.status(path)),
        refused(() => files.readDirectory(`${folder}\0`)),
        refused(() => files.makeDirectory(`${folder}/d\0`)),
        refused(() => files.link(path, `${folder}/g`)),
        refused(() => files.rename(`${folder}/f`, `${folder}/g\0`)),
        files.readDirectory(folder),
        textOf(files.readFile(`${folder}/f`)),
      ].map((seen) => (typeof seen === "string" ? seen.replace(/ of .*/s, "") : seen));
    },
    expected: [...Array<string>(8).fill("EINVAL"), ["f"], "kept"],
  },
  "a directory lists its entries, and nothing else": {
    run(files, folder) {
      files.makeDirectory(`${folder}/d/inner`);
      files.writeFile(`${folder}/d/.hidden`, bytesOf(""));
      files.writeFile(`${folder}/d/f`, bytesOf(""));
      return files.readDirectory(`${folder}/d`).toSorted();
    },
    expected: [".hidden", "f", "inner"],
  },
  "listing fails depending on what the path is": {
    run: (files, folder) => {
      files.writeFile(`${folder}/f`, bytesOf(""));
      const list = (name: string) => outcome(folder, () => files.readDirectory(`${folder}/${name}`));
      return [list("absent"), list("f")];
    },
    expected: ["ENOENT of absent", "ENOTDIR of f"],
  },
  "a directory is made with its parents, and making it again succeeds": {
    run(files, folder) {
      files.makeDirectory(`${folder}/a/b/c`, 0o700);
      files.makeDirectory(`${folder}/a/b/c`);
      files.makeDirectory(`${folder}/a/b/`);
      return ["a", "a/b", "a/b/c"].map((name) => files.status(`${folder}/${name}`)?.mode ?? -1);
    },
    expected: [0o700, 0o700, 0o700],
  },
  "a directory is not made over a file": {
    run: (files, folder) => {
      files.writeFile(`${folder}/f`, bytesOf(""));
      const make = (name: string) =>
        outcome(folder, () => {
          files.makeDirectory(`${folder}/${name}`);
          return undefined;
        });
      return [make("f"), make("f/below"), make("f/below/it")];
    },
    expected: ["EEXIST of f", "ENOTDIR of f/below", "ENOTDIR of f/below/it"],
  },
  "a link is a second name of the same file": {
    run(files, folder) {
      files.writeFile(`${folder}/f`, bytesOf("x"));
      files.link(`${folder}/f`, `${folder}/g`);
      files.unlink(`${folder}/f`);
      const status = files.status(`${folder}/g`);
      return [textOf(files.readFile(`${folder}/g`)), files.status(`${folder}/f`) === undefined, status?.kind ?? ""];
    },
    expected: ["x", true, "file"],
  },
  "linking fails depending on what the paths are": {
    run: (files, folder) => {
      files.writeFile(`${folder}/f`, bytesOf(""));
      files.writeFile(`${folder}/g`, bytesOf(""));
      files.makeDirectory(`${folder}/d`);
      const link = (from: string, to: string) =>
        outcome(folder, () => {
          files.link(`${folder}/${from}`, `${folder}/${to}`);
          return undefined;
        });
      return [link("f", "g"), link("absent", "h"), link("d", "h"), link("f", "absent/h")];
    },
    expected: ["EEXIST of f -> g", "ENOENT of absent -> h", "EPERM of d -> h", "ENOENT of f -> absent/h"],
  },
  "a rename replaces a file atomically": {
    run(files, folder) {
      files.writeFile(`${folder}/new`, bytesOf("new"));
      files.writeFile(`${folder}/old`, bytesOf("old"));
      files.rename(`${folder}/new`, `${folder}/old`);
      return [files.readDirectory(folder), textOf(files.readFile(`${folder}/old`))];
    },
    expected: [["old"], "new"],
  },
  "a rename between two names of one file keeps both": {
    run(files, folder) {
      files.writeFile(`${folder}/f`, bytesOf(""));
      files.link(`${folder}/f`, `${folder}/g`);
      files.rename(`${folder}/f`, `${folder}/g`);
      return files.readDirectory(folder).toSorted();
    },
    expected: ["f", "g"],
  },
  "renaming fails depending on what the paths are": {
    run: (files, folder) => {
      files.writeFile(`${folder}/f`, bytesOf(""));
      files.makeDirectory(`${folder}/d`);
      files.makeDirectory(`${folder}/full/x`);
      const rename = (from: string, to: string) =>
        outcome(folder, () => {
          files.rename(`${folder}/${from}`, `${folder}/${to}`);
          return undefined;
        });
      return [
        rename("absent", "g"),
        rename("f", "absent/g"),
        rename("f", "d"),
        rename("d", "f"),
        rename("d", "full"),
        rename("full", "full/x/y"),
      ];
    },
    expected: [
      "ENOENT of absent -> g",
      "ENOENT of f -> absent/g",
      "EISDIR of f -> d",
      "ENOTDIR of d -> f",
      "ENOTEMPTY of d -> full",
      "EINVAL of full -> full/x/y",
    ],
  },
  "a directory moves with its content": {
    run(files, folder) {
      files.makeDirectory(`${folder}/d`);
      files.writeFile(`${folder}/d/f`, bytesOf("x"));
      files.makeDirectory(`${folder}/empty`);
      files.rename(`${folder}/d`, `${folder}/empty`);
      return [files.readDirectory(folder), textOf(files.readFile(`${folder}/empty/f`))];
    },
    expected: [["empty"], "x"],
  },
  "unlinking fails depending on what the path is": {
    run: (files, folder) => {
      files.makeDirectory(`${folder}/d`);
      const unlink = (name: string) =>
        outcome(folder, () => {
          files.unlink(`${folder}/${name}`);
          return undefined;
        });
      return [unlink("absent"), unlink("d")];
    },
    expected: ["ENOENT of absent", "EISDIR of d"],
  },
  "a status has kind, size and mode, and nothing for an absent path": {
    run(files, folder) {
      files.writeFile(`${folder}/f`, bytesOf("four"), { mode: 0o640 });
      files.makeDirectory(`${folder}/d`, 0o700);
      const { kind, sizeBytes, mode } = files.status(`${folder}/f`) ?? {};
      return [
        { kind: kind ?? "", sizeBytes: sizeBytes ?? -1, mode: mode ?? -1 },
        files.status(`${folder}/d`)?.kind ?? "",
        files.status(`${folder}/absent`) === undefined,
        files.status(`${folder}/f/below`) === undefined,
        outcome(folder, () => files.status(`${folder}/${LONG_NAME}`)?.kind),
      ];
    },
    expected: [{ kind: "file", sizeBytes: 4, mode: 0o640 }, "directory", true, true, `ENAMETOOLONG of ${LONG_NAME}`],
  },
  "a modification time can be set, for a directory too, and lasts until an entry changes": {
    run(files, folder) {
      const time = 1_700_000_000_250;
      files.makeDirectory(`${folder}/d`);
      files.writeFile(`${folder}/d/f`, bytesOf("kept"));
      for (const path of [`${folder}/d/f`, `${folder}/d`]) files.setModified(path, time);
      const times = () => ["d/f", "d"].map((name) => files.status(`${folder}/${name}`)?.modifiedMs === time);
      const set = times();
      files.unlink(`${folder}/d/f`);
      const absent = outcome(folder, () => {
        files.setModified(`${folder}/absent`, time);
        return undefined;
      });
      return [set, times(), absent];
    },
    expected: [[true, true], [false, false], "ENOENT of absent"],
  },
  "two files have two inodes on one device": {
    run(files, folder) {
      files.writeFile(`${folder}/f`, bytesOf(""));
      files.writeFile(`${folder}/g`, bytesOf(""));
      const [f, g] = [files.status(`${folder}/f`), files.status(`${folder}/g`)];
      return [f?.device === g?.device, f?.inode !== g?.inode, (f?.modifiedMs ?? 0) > 1.6e12];
    },
    expected: [true, true, true],
  },
};
