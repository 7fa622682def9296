/** Documentation for operators. */
import type { Manual } from "../../../pkg/backend/contract.ts";

export const manual: Manual = {
  words: { throwaway: "to be thrown away" },
  keys: [
    {
      name: "Tag",
      values: "an integer from 1 to 1000",
      standard: "1",
      meaning: "of nodes that reach each other",
      types: ["throwaway"],
    },
  ],
};
