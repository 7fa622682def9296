/** The parts of a Namespace that weftd keeps for NetworkPolicy, and their parser. */
import type { ResourceParser } from "../parser.ts";
import { type Labels, NO_LABELS, readLabels } from "./labels.ts";

export interface Namespace {
  readonly labels: Labels;
  /** By the annotation `weft/policy-mode: audit`: denied packets of its pods are counted and logged, but not dropped. */
  readonly isAudited: boolean;
}

const MODE_ANNOTATION = "weft/policy-mode";

export const NAMESPACE_PARSER: ResourceParser<Namespace> = {
  resource: { group: "", version: "v1", plural: "namespaces", kind: "Namespace", isNamespaced: false },
  form: "metadata",
  parse({ metadata }) {
    return {
      labels: metadata.labels === undefined ? NO_LABELS : readLabels(metadata.labels),
      isAudited: metadata.annotations?.[MODE_ANNOTATION] === "audit",
    };
  },
};
