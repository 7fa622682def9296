import { expect, test } from "vitest";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { CommandError } from "../outcome.ts";
import { runLegacy } from "./legacy.ts";

test("reports an error of iptables-legacy as that program's error, not as a bug of weft", () => {
  const path = "/usr/sbin/iptables-legacy";
  const errorOutput = new TextEncoder().encode("Fatal: can't open lock file: Permission denied\n");
  const system = new FakeSystem({ programs: { [path]: () => ({ status: 4, errorOutput }) } });
  expect(() => runLegacy(system, path, ["-S", "FORWARD"])).toThrow(
    new CommandError(`${path} -S FORWARD: exit status 4: Fatal: can't open lock file: Permission denied`),
  );
  expect(() => runLegacy(system, path, [])).toThrow(CommandError);
});
