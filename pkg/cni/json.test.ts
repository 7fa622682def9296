import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonError, parseJson } from "./json.ts";

describe("invalid JSON is refused with its position and what was expected", () => {
  test.each([
    ["", "line 1, column 1: expected a value, got the end of the text"],
    ["{", "line 1, column 2: expected a key in double quotes, got the end of the text"],
    ['{"a"}', 'line 1, column 5: expected ":", got "}"'],
    ['{"a": }', 'line 1, column 7: expected a value, got "}"'],
    ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: expected "," or "}", got "\\""'],
    ['{"a": 1,}', 'line 1, column 9: expected a key in double quotes, got "}"'],
    ["[1, 2", 'line 1, column 6: expected "," or "]", got the end of the text'],
    ["[1,]", 'line 1, column 4: expected a value, got "]"'],
    ["{a: 1}", 'line 1, column 2: expected a key in double quotes, got "a"'],
    ["{'a': 1}", 'line 1, column 2: expected a key in double quotes, got "\'"'],
    ['"abc', "line 1, column 5: expected the end of the string, got the end of the text"],
    ['"a\nb"', 'line 1, column 3: expected the end of the string, got "\\n"'],
    ['"a\\x"', 'line 1, column 3: expected a known escape, got "\\\\"'],
    ["01", 'line 1, column 2: expected nothing after the value, got "1"'],
    ["[nul]", 'line 1, column 2: expected a value, got "n"'],
    ["{} {}", 'line 1, column 4: expected nothing after the value, got "{"'],
    ["// c\n{}", 'line 1, column 1: expected a value, got "/"'],
  ])("%j", (text, message) => {
    expect(() => parseJson(text)).toThrow(JsonError);
    expect(() => parseJson(text)).toThrow(message);
  });

  test("reports the position of any error that the engine finds", () => {
    const mutant = fc
      .tuple(fc.json(), fc.nat(), fc.constantFrom("", "{", "}", "[", ",", ":", '"', "\\", "0", "-", "\u0001", "x"))
      .map(
        ([text, at, put]) =>
          `${text.slice(0, at % (text.length + 1))}${put}${text.slice((at % (text.length + 1)) + 1)}`,
      );
    fc.assert(
      fc.property(mutant, (text) => {
        try {
          parseJson(text);
        } catch (error) {
          expect(error).toBeInstanceOf(JsonError);
          expect((error as JsonError).message).toMatch(/^line \d+, column \d+: expected /);
        }
      }),
    );
  });
});

test("parses valid JSON as the engine does", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(parseJson(text)).toEqual(JSON.parse(text));
    }),
  );
});
