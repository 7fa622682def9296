import { expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { isPortUnreachable } from "./port-probe.ts";

test("a closed port is heard of", async () => {
  expect(await isPortUnreachable(parseAddress("127.0.0.1"), parseAddress("127.0.0.1"))).toBe(true);
});

test("a destination that the kernel refuses is a rejection, and ends nothing else", async () => {
  // A broadcast address: EACCES where there is a route, ENETUNREACH where there is none.
  await expect(isPortUnreachable(parseAddress("0.0.0.0"), parseAddress("255.255.255.255"))).rejects.toThrow(/connect/);
});
