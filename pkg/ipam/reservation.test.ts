import { expect, test } from "vitest";
import { formatAddress } from "../ip/address.ts";
import { FakeFiles } from "../sys/fake-files.ts";
import { readReservations } from "./reservation.ts";

const FOLDER = "/networks/cbr0";

test("reads every reservation with its owner and ignores other files", () => {
  const files = new FakeFiles();
  files.makeDirectory(FOLDER);
  const contents = {
    "10.244.1.2": "c2\r\neth0",
    "10.244.1.3": "c3",
    "fd00::2": "c2\r\neth0",
    "10.244.1.4": "",
    "last_reserved_ip.0": "10.244.1.4",
    lock: "",
    "1.2.3": "no address",
  };
  for (const [name, content] of Object.entries(contents))
    files.writeFile(`${FOLDER}/${name}`, new TextEncoder().encode(content));
  const found = readReservations(files, FOLDER).map(
    ({ address, containerId, ifName }) => `${formatAddress(address)} ${containerId} ${ifName}`,
  );
  expect(found.sort()).toEqual([
    "10.244.1.2 c2 eth0",
    "10.244.1.3 c3 undefined",
    "10.244.1.4  undefined",
    "fd00::2 c2 eth0",
  ]);
});

test("ignores a missing folder and a file that is removed meanwhile", () => {
  const files = new FakeFiles();
  expect(readReservations(files, FOLDER)).toEqual([]);
  expect(
    readReservations({ ...files, readDirectory: () => ["10.244.1.2"], readFile: files.readFile.bind(files) }, FOLDER),
  ).toEqual([]);
});
