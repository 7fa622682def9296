/** Room on the file systems that weft's files lie on. */
import type { System } from "../../../pkg/sys/system.ts";
import type { Facts } from "../facts.ts";

/** Of each path, or of the nearest folder above it that is there. */
export function readRooms(system: System, paths: readonly string[]): Facts["rooms"] {
  return paths.map((path) => {
    let present = path;
    while (present !== "" && system.status(present) === undefined) present = present.slice(0, present.lastIndexOf("/"));
    return { path, room: system.room(present === "" ? "/" : present) };
  });
}
