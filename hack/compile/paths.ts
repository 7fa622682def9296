import { resolve } from "node:path";

/** The repository's folder. */
export const ROOT = resolve(import.meta.dirname, "../..");
export const DIST = `${ROOT}/dist`;
/** What the build makes on its way: bundles and bytecode. */
export const WORK = `${ROOT}/.cache/build`;
/** qjsc, libquickjs.a and quickjs.h, as the set-up has put them together. */
export const QUICKJS = process.env.QUICKJS_DIR ?? `${ROOT}/.cache/quickjs`;
