/** Reads the free space of the file systems with weft's files. */
import type { System } from "../../../pkg/sys/system.ts";
import type { Facts } from "../facts.ts";

/** Reads the file system of each path, or of its nearest existing parent folder. */
export function readRooms(system: System, paths: readonly string[]): Facts["rooms"] {
  return paths.map((path) => {
    let present = path;
    while (present !== "" && system.status(present) === undefined) present = present.slice(0, present.lastIndexOf("/"));
    return { path, room: system.room(present === "" ? "/" : present) };
  });
}
