import { describe, expect, test } from "vitest";
import { FakeSystem } from "../sys/fake.ts";
import type { StreamScript } from "../sys/fake-sockets.ts";
import { Bus, busPath } from "./bus.ts";

const BUS = "/run/dbus/system_bus_socket";

describe("the bus", () => {
  test("that does not exist is no error", () => {
    expect(Bus.open(new FakeSystem())).toBe(undefined);
  });
  test.each<[string, StreamScript, RegExp]>([
    [
      "refuses",
      () => [new TextEncoder().encode("REJECTED EXTERNAL\r\n")],
      /^D-Bus at .run.dbus.system_bus_socket refused the authentication: "REJECTED EXTERNAL"/,
    ],
    ["ends", () => [new Uint8Array()], /^D-Bus at \S+ closed the connection/],
    ["does not answer", () => [], /^D-Bus at \S+ does not answer$/],
    [
      "sends invalid data",
      () => [new TextEncoder().encode("DATA\r\nOK 1\r\n0123456789abcdef")],
      /^D-Bus at \S+ does not speak D-Bus: unknown byte order 48/,
    ],
  ])("that %s is an error", (_, script, message) => {
    const system = new FakeSystem({ servers: { [BUS]: () => script } });
    expect(() => Bus.open(system)).toThrow(
      expect.objectContaining({ name: "BusError", message: expect.stringMatching(message) }),
    );
    expect(system.openCount).toBe(0);
  });
  test.each([
    [undefined, BUS],
    ["", BUS],
    ["tcp:host=x", BUS],
    ["unix:path=/a%20b,guid=1", "/a b"],
    ["tcp:host=x;unix:guid=1,path=/c", "/c"],
  ])("the address %j names the socket %s", (address, path) => {
    expect(busPath(address)).toBe(path);
  });
});
