import { expect, test } from "vitest";
import type { ConntrackOptions } from "../../proxy-place-options.ts";
import { type ConntrackValues, timestampSetting, wantedSettings } from "./wanted.ts";

const DEFAULTS: ConntrackOptions = {
  ...{ conntrackMaxPerCore: 32_768, conntrackMin: 131_072, conntrackTcpBeLiberal: false },
  ...{ conntrackTcpTimeoutEstablished: undefined, conntrackTcpTimeoutCloseWait: undefined },
  ...{ conntrackUdpTimeout: undefined, conntrackUdpTimeoutStream: undefined },
};
/** The kernel's values at boot on a machine with 2 GiB. */
const KERNEL: ConntrackValues = {
  ...{
    max: 65_536,
    buckets: 16_384,
    established: 432_000,
    closeWait: 60,
    udp: 30,
    udpStream: 120,
    liberal: 0,
    timestamp: 0,
  },
};

function wanted(options: Partial<ConntrackOptions>, present: Partial<ConntrackValues> = {}, processors = 2) {
  const settings = wantedSettings({ ...DEFAULTS, ...options }, { ...KERNEL, ...present }, processors);
  return Object.fromEntries(settings.map(({ setting, value }) => [setting, value]));
}

test.each([
  ["as kube-proxy sets on a small machine", 2, 131_072],
  ["as kube-proxy computes from the processors", 8, 262_144],
  ["as kube-proxy sets on a very large machine", 64, 1_048_576],
])("the kernel's defaults become the same values %s", (_name, processors, max) => {
  expect(wanted({}, {}, processors)).toEqual({ max, buckets: max / 4, established: 86_400, closeWait: 3600 });
});

test("never shrinks the table", () => {
  expect(wanted({}, { max: 2_000_000, buckets: 500_000 })).toEqual({ established: 86_400, closeWait: 3600 });
  expect(wanted({ conntrackMin: 1000, conntrackMaxPerCore: 1 })).not.toHaveProperty("max");
});

test("keeps times that an operator has set unless a flag sets them", () => {
  const present = { established: 7200, closeWait: 120 };
  expect(wanted({}, present)).not.toHaveProperty("established");
  expect(wanted({ conntrackTcpTimeoutEstablished: 600, conntrackTcpTimeoutCloseWait: 90 }, present)).toMatchObject({
    ...{ established: 600, closeWait: 90 },
  });
});

test("0 leaves a setting unchanged", () => {
  const options = { conntrackMaxPerCore: 0, conntrackTcpTimeoutEstablished: 0, conntrackTcpTimeoutCloseWait: 0 };
  expect(wanted({ ...options, conntrackUdpTimeout: 0 })).toEqual({});
});

test("applies settings that only flags request", () => {
  const options = { conntrackUdpTimeout: 60, conntrackUdpTimeoutStream: 180, conntrackTcpBeLiberal: true };
  expect(wanted(options)).toMatchObject({ udp: 60, udpStream: 180, liberal: 1 });
  expect(wanted(options, { udp: 60, udpStream: 180, liberal: 1 })).not.toHaveProperty("udp");
});

test("skips a setting that the kernel does not have", () => {
  const none = { max: undefined, buckets: undefined, established: undefined, closeWait: undefined, liberal: undefined };
  expect(wanted({ conntrackTcpBeLiberal: true }, none)).toEqual({});
});

test("asks for the times of flows only if the kernel has the setting and it is off", () => {
  expect(timestampSetting({ timestamp: 0 })).toEqual([{ setting: "timestamp", value: 1 }]);
  expect(timestampSetting({ timestamp: 1 })).toEqual([]);
  expect(timestampSetting({ timestamp: undefined })).toEqual([]);
  expect(wanted({})).not.toHaveProperty("timestamp");
});
