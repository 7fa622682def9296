import { expect, test } from "vitest";
import type { Family } from "../../../pkg/ip/address.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import { SystemError } from "../../../pkg/sys/errors.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { ensureSetting, SettingError } from "../../core/drivers/settings.ts";
import { advertisedLinks, forwardingSettings } from "./forwarding.ts";

const EROFS = 30;
const IPV4 = "/proc/sys/net/ipv4/ip_forward";
const IPV6 = "/proc/sys/net/ipv6/conf/all/forwarding";
const ACCEPT_RA = "/proc/sys/net/ipv6/conf/eth0/accept_ra";

function kernel(settings: Readonly<Record<string, string>>): FakeFiles {
  const files = new FakeFiles();
  for (const [path, value] of Object.entries(settings)) {
    files.makeDirectory(path.slice(0, path.lastIndexOf("/")));
    files.writeFile(path, new TextEncoder().encode(`${value}\n`));
  }
  return files;
}

function value(files: FakeFiles, path: string): string {
  return new TextDecoder().decode(files.readFile(path)).trim();
}

function readOnly(path: string): never {
  throw new SystemError("open", path, EROFS);
}

function ensureForwarding(files: FakeFiles, wanted: ReadonlySet<Family>): string[] {
  return forwardingSettings(files, wanted, "eth0", ["cni0", "flannel.1"], ["eth1"]).flatMap(
    (setting) => ensureSetting(files, setting) ?? [],
  );
}

const families = (...list: Family[]) => new Set(list);

test("switches forwarding on, for the families in use only", () => {
  const files = kernel({ [IPV4]: "0", [IPV6]: "0", [ACCEPT_RA]: "1" });
  expect(ensureForwarding(files, families(4))).toEqual(["net.ipv4.ip_forward=1"]);
  expect([IPV4, IPV6, ACCEPT_RA].map((path) => value(files, path))).toEqual(["1", "0", "1"]);
});

test("keeps accepting router advertisements when IPv6 forwarding is switched on", () => {
  const files = kernel({ [IPV4]: "1", [IPV6]: "0", [ACCEPT_RA]: "1" });
  const changed = ensureForwarding(files, families(4, 6));
  expect(changed).toEqual(["net.ipv6.conf.eth0.accept_ra=2", "net.ipv6.conf.all.forwarding=1"]);
});

test("does so on another interface that depends on them, and on no other", () => {
  const acceptance = (name: string) => `/proc/sys/net/ipv6/conf/${name}/accept_ra`;
  const files = kernel({ [IPV6]: "1", [acceptance("eth1")]: "1", [acceptance("eth2")]: "1" });
  expect(ensureForwarding(files, families(6))).toEqual(["net.ipv6.conf.eth1.accept_ra=2"]);
  const route = { destination: { address: { family: 6, value: 0n }, length: 0 }, outputIndex: 3, protocol: 9 } as const;
  const links = [{ index: 2, name: "eth0" } as Link, { index: 3, name: "eth1" } as Link];
  const more = { table: 254, scope: 0, type: 1, isMultipath: false };
  expect(
    advertisedLinks({
      links,
      routes: [
        { ...route, ...more },
        { ...route, ...more, outputIndex: 2, protocol: 3 },
      ],
    }),
  ).toEqual(["eth1"]);
});

test("does not change an interface that does not accept router advertisements", () => {
  const files = kernel({ [IPV6]: "0", [ACCEPT_RA]: "0" });
  expect(ensureForwarding(files, families(6))).toEqual(["net.ipv6.conf.all.forwarding=1"]);
});

test("does not write correct settings, which may be read-only", () => {
  const files = kernel({ [IPV4]: "1" });
  files.writeFile = readOnly;
  expect(ensureForwarding(files, families(4))).toEqual([]);
});

test("the error for a setting that cannot be set names the command to run", () => {
  const files = kernel({ [IPV4]: "0" });
  files.writeFile = readOnly;
  expect(() => ensureForwarding(files, families(4))).toThrow(SettingError);
  expect(() => ensureForwarding(files, families(4))).toThrow(/on the host: sysctl -w net\.ipv4\.ip_forward=1/);
});

test("switches forwarding on for a device that does not forward although the node does", () => {
  const device = (name: string) => `/proc/sys/net/ipv4/conf/${name}/forwarding`;
  const files = kernel({ [IPV4]: "1", [device("eth0")]: "0", [device("cni0")]: "1", [device("other")]: "0" });
  expect(ensureForwarding(files, families(4))).toEqual(["net.ipv4.conf.eth0.forwarding=1"]);
  expect(value(files, device("other"))).toBe("0");
});
