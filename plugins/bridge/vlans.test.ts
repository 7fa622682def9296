import { expect, test } from "vitest";
import { ConfigObject } from "../../pkg/cni/config.ts";
import { vlanOptions } from "./vlans.ts";

const options = (object: object) => vlanOptions(new ConfigObject(object as Record<string, unknown>));

test.each([
  ["neither key", {}, undefined],
  ["vlan 0", { vlan: 0, preserveDefaultVlan: true }, undefined],
  ["a VLAN", { vlan: 100 }, { id: 100, port: { native: 100, tagged: [] }, keepsDefault: false }],
  [
    "a VLAN with the default one",
    { vlan: 100, preserveDefaultVlan: true },
    { id: 100, port: { native: 100, tagged: [] }, keepsDefault: true },
  ],
  [
    "a trunk, with untagged frames in VLAN 1",
    { vlanTrunk: [{ minID: 300, maxID: 302 }, { id: 200 }] },
    {
      id: undefined,
      port: {
        native: 1,
        tagged: [
          { first: 200, last: 200 },
          { first: 300, last: 302 },
        ],
      },
      keepsDefault: false,
    },
  ],
  [
    "a trunk that contains the VLAN of untagged frames, which stays untagged",
    { vlan: 100, vlanTrunk: [{ minID: 99, maxID: 101, id: 5 }] },
    {
      id: 100,
      port: {
        native: 100,
        tagged: [
          { first: 5, last: 5 },
          { first: 99, last: 99 },
          { first: 101, last: 101 },
        ],
      },
      keepsDefault: false,
    },
  ],
  [
    "overlapping and adjacent entries",
    { VlanTrunk: [{ minID: 10, maxID: 12 }, { ID: 13 }, { minid: 11, maxid: 14 }] },
    { id: undefined, port: { native: 1, tagged: [{ first: 10, last: 14 }] }, keepsDefault: false },
  ],
  ["an empty trunk", { vlanTrunk: [] }, { id: undefined, port: undefined, keepsDefault: false }],
  ["a trunk of empty entries", { vlanTrunk: [{}] }, { id: undefined, port: undefined, keepsDefault: false }],
])("%s", (_name, object, expected) => {
  expect(options(object)).toEqual(expected);
});

test.each([
  [{ vlan: 4095 }, /vlan: expected an integer from 0 to 4094, got 4095/],
  [{ vlan: -1 }, /vlan/],
  [{ vlan: "5" }, /vlan/],
  [{ vlanTrunk: [{ id: 0 }] }, /vlanTrunk\[0\]\.id/],
  [{ vlanTrunk: [{ id: 4095 }] }, /vlanTrunk\[0\]\.id/],
  [{ vlanTrunk: [{ id: 1 }, { minID: 5 }] }, /vlanTrunk\[1\]\.maxID/],
  [{ vlanTrunk: [{ maxID: 5 }] }, /vlanTrunk\[0\]\.minID/],
  [{ vlanTrunk: [{ minID: 6, maxID: 5 }] }, /vlanTrunk\[0\]\.maxID: expected a VLAN of at least minID \(6\), got 5/],
  [{ vlanTrunk: [7] }, /vlanTrunk\[0\]/],
  [{ vlanTrunk: { id: 7 } }, /vlanTrunk/],
])("rejects %j", (object, message) => {
  expect(() => options(object)).toThrow(expect.objectContaining({ code: 7, message: expect.stringMatching(message) }));
});
