import { describe, expect, test } from "vitest";
import { decodeMessage, encodeCall, messageLength } from "./message.ts";

describe("messages", () => {
  const call = { serial: 1, destination: "a.b", path: "/", interface: "c.d", member: "E", body: ["x", "größe"] };

  test("are the same after encoding and decoding", () => {
    const encoded = encodeCall(call);
    expect(messageLength(encoded)).toBe(encoded.length);
    expect(decodeMessage(encoded)).toEqual({
      ...{ type: 1, serial: 1, replySerial: undefined, errorName: undefined },
      body: ["x", "größe"],
    });
  });
  test("without arguments have no signature", () => {
    expect(decodeMessage(encodeCall({ ...call, body: [] })).body).toEqual([]);
  });
  test("that are truncated at any byte are refused or reported as incomplete", () => {
    const encoded = encodeCall(call);
    for (let length = 0; length < encoded.length; length++) {
      const cut = encoded.slice(0, length);
      if (length < 16) expect(messageLength(cut)).toBe(undefined);
      else expect(() => decodeMessage(cut)).toThrow();
    }
  });
  test("of excessive length are refused", () => {
    const encoded = encodeCall(call);
    encoded[7] = 0x7f;
    expect(() => messageLength(encoded)).toThrow(/bytes/);
  });
});
