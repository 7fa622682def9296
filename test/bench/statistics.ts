/** The value below which `share` (0 to 1) of the samples lie: the nearest rank, so always one of the samples. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (found === undefined) throw new RangeError("quantile of no samples");
  return found;
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}
