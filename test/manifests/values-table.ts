/** A chart's values as a table in Markdown: descriptions from its schema, defaults from values.yaml. */

export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

type Values = Readonly<Record<string, unknown>>;

/**
 * A value with a description is a row; the nested values of one without are rows. Throws if a leaf has no description.
 */
export function formatValuesTable(schema: Schema, values: Values): string {
  const rows = Object.entries(schema.properties ?? {}).flatMap(([key, part]) => rowsOf(key, part, values[key]));
  return ["| value | default | what it is |", "|---|---|---|", ...rows, ""].join("\n");
}

function rowsOf(path: string, schema: Schema, value: unknown): string[] {
  const inside = Object.entries(schema.properties ?? {});
  if (schema.description !== undefined) return [row(path, value, describe(schema))];
  if (inside.length === 0) throw new Error(`values.schema.json: ${path} has no description`);
  return inside.flatMap(([key, part]) => rowsOf(`${path}.${key}`, part, (value as Values)[key]));
}

function row(path: string, value: unknown, description: string): string {
  return `| \`${path}\` | \`${JSON.stringify(value)}\` | ${description} |`;
}

function describe({ description = "", enum: choices, properties }: Schema): string {
  const listed =
    choices?.map((choice) => JSON.stringify(choice)) ??
    Object.entries(properties ?? {}).map(([key, part]) => {
      const own = part.enum?.map((choice) => JSON.stringify(choice)).join(" or ");
      return own === undefined ? key : `${key} (${own})`;
    });
  return listed.length === 0 ? description : `${description}: ${listed.map((text) => `\`${text}\``).join(", ")}`;
}
