/**
 * The contract of the functions of `System` other than files, as scenarios. Node.js has none of them, and the daemon
 * needs none.
 */
import type { System } from "../../pkg/sys/system.ts";
import { bytesOf, type Outcome, outcome, textOf } from "./outcome.ts";

/** The files, programs and sockets that the test has prepared. */
export interface World {
  /** An empty folder for this scenario. */
  readonly folder: string;
  /**
   * A program that prints CNI_COMMAND, a colon, each argument in brackets and its input, writes "told" to standard
   * error, and exits with status 3.
   */
  readonly program: string;
  /** A program that ends itself by SIGTERM. */
  readonly suicide: string;
  /** A file without execute permission. */
  readonly plainFile: string;
  /** A socket on which a server accepts connections. */
  readonly liveSocket: string;
  /** A socket whose server sends received data back, and closes the connection after "end". */
  readonly echoSocket: string;
  /** The same server at this TCP port of 127.0.0.1. */
  readonly echoPort: number;
  /** A socket whose listener accepts no connections, with a full queue. */
  readonly fullSocket: string;
}

export interface SystemScenario {
  readonly run: (system: System, world: World) => Outcome;
  readonly expected: Outcome;
}

const OWN_NAMESPACE = "/proc/self/ns/net";

export const systemScenarios: Readonly<Record<string, SystemScenario>> = {
  "a lock has one holder until it is released": {
    run(system, { folder }) {
      const path = `${folder}/lock`;
      const first = system.lockFile(path);
      const second = system.lockFile(path, { wait: false });
      first?.release();
      const third = system.lockFile(path, { wait: false });
      const seen = [first !== undefined, second !== undefined, third !== undefined, system.readDirectory(folder)];
      third?.release();
      return seen;
    },
    expected: [true, false, true, ["lock"]],
  },
  "releasing a lock twice does not release the next holder's": {
    run(system, { folder }) {
      const path = `${folder}/lock`;
      const first = system.lockFile(path);
      first?.release();
      const second = system.lockFile(path, { wait: false });
      first?.release();
      const isFree = system.lockFile(path, { wait: false }) !== undefined;
      second?.release();
      return isFree;
    },
    expected: false,
  },
  "two locks are independent": {
    run(system, { folder }) {
      const first = system.lockFile(`${folder}/a`, { wait: false });
      const second = system.lockFile(`${folder}/b`, { wait: false });
      return [first !== undefined, second !== undefined];
    },
    expected: [true, true],
  },
  "a directory is locked like a file, and must be a directory": {
    run: (system, { folder }) => {
      system.writeFile(`${folder}/f`, bytesOf(""));
      const first = system.lockDirectory(folder);
      const second = system.lockDirectory(folder, { wait: false });
      first?.release();
      const third = system.lockDirectory(folder, { wait: false });
      third?.release();
      const lock = (path: string) => outcome(folder, () => system.lockDirectory(path) && "locked");
      return [
        first !== undefined,
        second !== undefined,
        third !== undefined,
        lock(`${folder}/f`),
        lock(`${folder}/no`),
      ];
    },
    expected: [true, false, true, "ENOTDIR of f", "ENOENT of no"],
  },
  "a lock fails if its file cannot exist": {
    run: (system, { folder }) => {
      const lock = (path: string) => outcome(folder, () => system.lockFile(path) && "locked");
      system.makeDirectory(`${folder}/d`);
      return [lock(`${folder}/absent/lock`), lock(`${folder}/d`)];
    },
    expected: ["ENOENT of absent/lock", "EISDIR of d"],
  },
  "the process's own namespace has one identity under both names": {
    run(system) {
      const [own, named] = [system.openNamespace(), system.openNamespace(OWN_NAMESPACE)];
      const seen = [own.path, own.fd !== named.fd, own.identity === named.identity];
      own.close();
      named.close();
      return seen;
    },
    expected: [OWN_NAMESPACE, true, true],
  },
  "closing a namespace twice does not close the next one": {
    run(system) {
      const first = system.openNamespace();
      first.close();
      const second = system.openNamespace();
      first.close();
      return system.inNamespace(second, () => {
        second.close();
        return "inside";
      });
    },
    expected: "inside",
  },
  "a closed namespace cannot be entered": {
    run: (system, { folder }) => {
      const namespace = system.openNamespace();
      namespace.close();
      const use = (work: () => void) =>
        String(
          outcome(folder, () => {
            work();
            return "let through";
          }),
        ).replace(/ of .*/, "");
      return [use(() => system.inNamespace(namespace, () => {})), use(() => system.openNetlink(0, namespace))];
    },
    expected: ["EBADF", "EBADF"],
  },
  "a netlink socket respects its timeout, and fails once closed": {
    run: (system, { folder }) => {
      const NETLINK_ROUTE = 0;
      const socket = system.openNetlink(NETLINK_ROUTE);
      const failure = (work: () => void) =>
        String(
          outcome(folder, () => {
            work();
            return "let through";
          }),
        ).replace(/ of .*/, "");
      const silence = [failure(() => socket.receive(20)), failure(() => socket.receive(0))];
      socket.close();
      return [silence, failure(() => socket.send(bytesOf("x"))), failure(() => socket.receive(20))];
    },
    expected: [["ETIMEDOUT", "ETIMEDOUT"], "EBADF", "EBADF"],
  },
  "a file that is not a network namespace is rejected": {
    run: (system, { folder, plainFile }) => {
      const open = (path: string) => outcome(folder, () => system.openNamespace(path).identity);
      return [
        open(`${folder}/absent`),
        String(open(plainFile)).replace(/ of .*/, ""),
        String(open(`${OWN_NAMESPACE}\0`)).replace(/ of .*/s, ""),
      ];
    },
    expected: ["ENOENT of absent", "EINVAL", "EINVAL"],
  },
  "inNamespace returns the result of its function, and passes its exception on": {
    run(system) {
      const namespace = system.openNamespace();
      const given = system.inNamespace(namespace, () => "given");
      try {
        system.inNamespace(namespace, () => {
          throw new RangeError("thrown");
        });
      } catch (error) {
        return [given, (error as Error).message];
      } finally {
        namespace.close();
      }
      return "nothing thrown";
    },
    expected: ["given", "thrown"],
  },
  "a program gets its input and environment, and returns its status and both outputs": {
    run(system, { program }) {
      const { status, output, errorOutput } = system.execute(program, {
        environment: { CNI_COMMAND: "ADD", PATH: "/usr/bin:/bin" },
        input: bytesOf('{"größe":1}'),
      });
      return [status, textOf(output), textOf(errorOutput)];
    },
    expected: [3, 'ADD:{"größe":1}', "told"],
  },
  "a program gets its arguments unchanged": {
    run(system, { program }) {
      const { output } = system.execute(program, {
        args: ["--noflush", "two words", ""],
        environment: { CNI_COMMAND: "DEL", PATH: "/usr/bin:/bin" },
        input: bytesOf(""),
      });
      return textOf(output);
    },
    expected: "DEL:[--noflush][two words][]",
  },
  "a program's input and output may exceed a pipe's buffer": {
    run(system, { program }) {
      const input = Uint8Array.from({ length: 1_000_000 }, (_, at) => 97 + (at % 26));
      const environment = { CNI_COMMAND: "", PATH: "/usr/bin:/bin" };
      const { output } = system.execute(program, { environment, input });
      return [output.length, output.every((byte, at) => at === 0 || byte === input[at - 1])];
    },
    expected: [1_000_001, true],
  },
  "a program ended by a signal has status 128 plus the signal": {
    run: (system, { suicide }) =>
      system.execute(suicide, { environment: { PATH: "/usr/bin:/bin" }, input: bytesOf("unread") }).status,
    expected: 128 + 15,
  },
  "a program that cannot be started is an error": {
    run: (system, { folder, plainFile }) => {
      const execute = (path: string) =>
        outcome(folder, () => system.execute(path, { environment: {}, input: bytesOf("") }).status);
      return [execute(`${folder}/absent`), String(execute(plainFile)).replace(/ of .*/, "")];
    },
    expected: ["ENOENT of absent", "EACCES"],
  },
  "a socket is alive while a server accepts connections": {
    run: (system, { folder, liveSocket }) => {
      system.writeFile(`${folder}/file`, bytesOf(""));
      return [
        system.isSocketAlive(liveSocket),
        system.isSocketAlive(`${folder}/absent`),
        system.isSocketAlive(`${folder}/file`),
        system.isSocketAlive(`${folder}/file/below`),
      ];
    },
    expected: [true, false, false, false],
  },
  "a tap's name is limited to the length of a device's": {
    run: (system, { folder }) =>
      outcome(folder, () => {
        system.createTap("sixteen-letters-", { multiQueue: false, owner: undefined, group: undefined });
        return "made";
      }),
    expected: "EINVAL of sixteen-letters-",
  },
  "a connection transfers data, respects its timeout, and fails once closed": {
    run: (system, { folder, echoSocket }) => {
      const socket = system.connectUnix(echoSocket);
      const failure = (work: () => void) =>
        String(
          outcome(folder, () => {
            work();
            return "let through";
          }),
        ).replace(/ of .*/, "");
      socket.send(bytesOf("größe"));
      const heard = textOf(socket.receive(1000));
      const silence = [failure(() => socket.receive(20)), failure(() => socket.receive(0))];
      socket.close();
      return [heard, silence, failure(() => socket.send(bytesOf("x"))), failure(() => socket.receive(20))];
    },
    expected: ["größe", ["ETIMEDOUT", "ETIMEDOUT"], "EBADF", "EBADF"],
  },
  "a connection closed by the peer returns no more data": {
    run(system, { echoSocket }) {
      const socket = system.connectUnix(echoSocket);
      socket.send(bytesOf("end"));
      const [first, second] = [socket.receive(1000), socket.receive(1000)];
      socket.close();
      return [textOf(first), second.length];
    },
    expected: ["end", 0],
  },
  "a connection without a server fails": {
    run: (system, { folder }) => {
      system.writeFile(`${folder}/file`, bytesOf(""));
      const reach = (path: string) => outcome(folder, () => system.connectUnix(path) && "reached");
      return [reach(`${folder}/absent`), reach(`${folder}/file`)];
    },
    expected: ["ENOENT of absent", "ECONNREFUSED of file"],
  },
  "a connection to a listener with a full queue fails in time": {
    run(system, { folder, fullSocket }) {
      const startMs = system.now();
      const result = outcome(folder, () => system.connectUnix(fullSocket, 50) && "reached");
      const tookMs = system.now() - startMs;
      return [String(result).replace(/ of .*/, ""), tookMs >= 50 && tookMs < 2000];
    },
    expected: ["ETIMEDOUT", true],
  },
  "a datagram to the node itself is refused without a server, in either family, and has a maximum length": {
    run(system) {
      const ask = (to: Uint8Array, bytes: number) => ({ to, from: to, port: 1, bytes, isWhole: true });
      const loopback6 = Uint8Array.from({ length: 16 }, (_, at) => (at === 15 ? 1 : 0));
      const answers = system.probeUdp([ask(Uint8Array.of(127, 0, 0, 1), 8), ask(loopback6, 8)], 2000);
      return [
        answers.map(({ errno }) => errno),
        answers.every(({ afterMs }) => afterMs < 2000),
        system.probeUdp([], 10).length,
      ];
    },
    expected: [[111, 111], true, 0],
  },
  "a TCP connection transfers data, and fails without a server": {
    run(system, { folder, echoPort }) {
      const loopback = Uint8Array.of(127, 0, 0, 1);
      const socket = system.connectTcp(loopback, echoPort, 1000);
      socket.send(bytesOf("größe"));
      const heard = textOf(socket.receive(1000));
      socket.close();
      return [heard, String(outcome(folder, () => system.connectTcp(loopback, 1, 1000) && "let through"))];
    },
    expected: ["größe", "ECONNREFUSED of a TCP connection"],
  },
  "the free space of a file system is returned, and nothing for an absent path": {
    run(system, { folder }) {
      const { bytes, freeBytes, inodes, freeInodes } = system.room(folder);
      return [
        bytes > freeBytes,
        freeBytes > 0,
        inodes >= freeInodes,
        outcome(folder, () => system.room(`${folder}/absent`).bytes),
      ];
    },
    expected: [true, true, true, "ENOENT of absent"],
  },
  "syncing a path to disk fails if it does not exist": {
    run: (system, { folder }) => {
      system.writeFile(`${folder}/f`, bytesOf(""));
      const sync = (path: string) =>
        outcome(folder, () => {
          system.sync(path);
          return "written";
        });
      return [sync(`${folder}/f`), sync(folder), sync(`${folder}/absent`)];
    },
    expected: ["written", "written", "ENOENT of absent"],
  },
  "a mode is set regardless of the umask": {
    run: (system, { folder }) => {
      system.writeFile(`${folder}/f`, bytesOf(""));
      system.setMode(`${folder}/f`, 0o777);
      const absent = outcome(folder, () => {
        system.setMode(`${folder}/absent`, 0o777);
        return "set";
      });
      return [system.status(`${folder}/f`)?.mode ?? -1, absent];
    },
    expected: [0o777, "ENOENT of absent"],
  },
  "reading the target of a path that is not a symbolic link fails": {
    run: (system, { folder }) => {
      system.writeFile(`${folder}/f`, bytesOf(""));
      return [`${folder}/f`, folder, `${folder}/absent`].map((path) => system.readLink(path) ?? "nowhere");
    },
    expected: ["nowhere", "nowhere", "nowhere"],
  },
  "a directory is removed once it is empty": {
    run: (system, { folder }) => {
      system.makeDirectory(`${folder}/d`);
      system.writeFile(`${folder}/d/f`, bytesOf(""));
      const remove = (path: string) =>
        outcome(folder, () => {
          system.removeDirectory(path);
          return "removed";
        });
      const seen = [remove(`${folder}/d`), remove(`${folder}/d/f`)];
      system.unlink(`${folder}/d/f`);
      return [...seen, remove(`${folder}/d`), remove(`${folder}/d`)];
    },
    expected: ["ENOTEMPTY of d", "ENOTDIR of d/f", "removed", "ENOENT of d"],
  },
  "the clock is in this century, and advances": {
    run(system) {
      const before = system.now();
      system.sleep(2);
      return [before > 946_684_800_000, system.now() > before];
    },
    expected: [true, true],
  },
  "a pipe is not a terminal": {
    run: (system) => [system.terminalColumns("output") ?? "none", system.terminalColumns("errorOutput") ?? "none"],
    expected: ["none", "none"],
  },
  "random bytes have the requested number, and differ": {
    run(system) {
      const [first, second] = [system.randomBytes(16), system.randomBytes(16)];
      return [first.length, system.randomBytes(0).length, first.some((byte, at) => byte !== second[at])];
    },
    expected: [16, 0, true],
  },
};
