/** The two scripts of the end-to-end test's pods, connected to each other in a new namespace. */
import { spawnSync } from "node:child_process";
import { hostname } from "node:os";
import { expect, test } from "vitest";

const SCRIPT = `
ip link set lo up
"$0" test/kind/pods/serve.mjs &
"$0" test/kind/pods/ask.mjs "$@"
status=$?
kill $!
exit $status`;

test("the client learns which pod answers and which client address it sees, by IPv4 and IPv6", () => {
  const urls = ["http://127.0.0.1:8080/", "http://[::1]:8080/"];
  const { status, stdout } = spawnSync("unshare", ["--net", "sh", "-c", SCRIPT, process.execPath, ...urls], {
    encoding: "utf8",
  });
  expect(JSON.parse(stdout)).toEqual({
    "http://127.0.0.1:8080/": { pod: hostname(), client: "127.0.0.1" },
    "http://[::1]:8080/": { pod: hostname(), client: "::1" },
  });
  expect(status).toBe(0);
});
