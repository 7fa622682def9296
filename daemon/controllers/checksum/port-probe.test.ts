import { expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { isPortUnreachable } from "./port-probe.ts";

test("detects a closed port", async () => {
  expect(await isPortUnreachable(parseAddress("127.0.0.1"), parseAddress("127.0.0.1"))).toBe(true);
});

test("rejects if the kernel refuses the destination, and does not end the process", async () => {
  // A broadcast address: EACCES if there is a route, ENETUNREACH if there is none.
  await expect(isPortUnreachable(parseAddress("0.0.0.0"), parseAddress("255.255.255.255"))).rejects.toThrow(/connect/);
});
