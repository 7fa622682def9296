/** The wording of JavaScript engines for bugs in a program. No message to an operator may match it. */
export const STUMBLE =
  /cannot (read|convert|mix)|is not (a function|a constructor|an object|iterable|defined)|undefined|invalid (array|regular|string|date)|call stack/i;
