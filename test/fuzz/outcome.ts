/** How engines word the errors of a program that is wrong: what is told to an operator never reads like this. */
export const STUMBLE =
  /cannot (read|convert|mix)|is not (a function|a constructor|an object|iterable|defined)|undefined|invalid (array|regular|string|date)|call stack/i;
