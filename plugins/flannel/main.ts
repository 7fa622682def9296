/**
 * `flannel`: reads the file that flanneld has written about this node, and delegates the attachment to another plugin
 * (bridge by default). Takes the configuration of flannel's own plugin, and keeps its state in the same place.
 */

import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { delegateAdd, delegateCheck, delegateDel, delegateGc, delegateStatus } from "../../pkg/cni/delegate.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import { DEFAULT_FLANNEL_DIR, DEFAULT_SUBNET_FILE } from "../../pkg/footprint.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import { type Rendered, renderDelegate } from "./rendering.ts";
import { Scratch } from "./scratch.ts";
import { parseSubnetEnv, type SubnetEnv, SubnetEnvError } from "./subnet-env.ts";

export const plugin: Plugin = {
  name: "flannel",
  about: "delegates to another plugin with the subnet that flanneld assigned to this node",
  add,
  del,
  check(request) {
    const { type, config } = render(request, readSubnetEnv(request, ErrorCode.tryAgainLater));
    delegateCheck(request, type, config);
  },
  /** Every ADD fails until flanneld has written its file. The default place of the file does not survive a reboot. */
  status(request) {
    const { type, config } = render(request, readSubnetEnv(request, ErrorCode.notAvailable));
    delegateStatus(request, type, config);
  },
  gc,
};

function add(request: CniRequest): Result {
  const { type, config } = render(request, readSubnetEnv(request, ErrorCode.tryAgainLater));
  const scratch = scratchOf(request);
  return undoing((undo) => {
    try {
      scratch.keep(request.containerId, config);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      throw new CniError(ErrorCode.ioFailure, `flannel: cannot keep the configuration for DEL: ${error.message}`, {
        cause: error,
      });
    }
    undo.push(() => scratch.forget(request.containerId));
    return delegateAdd(request, type, config);
  });
}

/** Uses the configuration that ADD kept. If that is gone or another network's, uses the current configuration. */
function del(request: CniRequest): void {
  const scratch = scratchOf(request);
  const kept = scratch.find(request.containerId, request.network);
  const keptType = kept?.type;
  if (typeof keptType !== "string") {
    const { type, config } = render(request, findSubnetEnv(request));
    delegateDel(request, type, config);
    return;
  }
  const prevResult = request.config.value("prevResult");
  const config = prevResult === undefined ? kept : { ...kept, prevResult };
  delegateDel(request, keptType, config);
  scratch.forget(request.containerId);
}

function gc(request: CniRequest): void {
  const valid = new Set(request.validAttachments.map(({ containerId }) => containerId));
  const scratch = scratchOf(request);
  const { type, config } = render(request, findSubnetEnv(request));
  collectGarbage(request, [
    () => delegateGc(request, type, config),
    () => {
      for (const containerId of scratch.containers()) {
        const isStale = !valid.has(containerId) && scratch.find(containerId, request.network) !== undefined;
        if (isStale) scratch.forget(containerId);
      }
    },
  ]);
}

function render(request: CniRequest, env: SubnetEnv | undefined): Rendered {
  return renderDelegate(request.call.config, env);
}

function scratchOf({ system, config }: CniRequest): Scratch {
  return new Scratch(system, config.optionalString("dataDir") || DEFAULT_FLANNEL_DIR);
}

function subnetFileOf({ config }: CniRequest): string {
  return config.optionalString("subnetFile") || DEFAULT_SUBNET_FILE;
}

/** Throws `CniError` with `code` if flanneld's file is missing or incomplete. */
function readSubnetEnv(request: CniRequest, code: number): SubnetEnv {
  const path = subnetFileOf(request);
  try {
    return parseSubnetEnv(new TextDecoder().decode(request.system.readFile(path)));
  } catch (error) {
    if (error instanceof SubnetEnvError)
      throw new CniError(code, `flannel: ${path} ${error.message}`, { cause: error });
    if (!isSystemError(error)) throw error;
    throw new CniError(
      code,
      `flannel: ${error.message}: flanneld writes this file when it has a subnet; check that it runs on this node`,
      { cause: error },
    );
  }
}

/** For callers that do not require the file: undefined if it is missing or incomplete. */
function findSubnetEnv(request: CniRequest): SubnetEnv | undefined {
  try {
    return readSubnetEnv(request, ErrorCode.tryAgainLater);
  } catch (error) {
    if (error instanceof CniError) return undefined;
    throw error;
  }
}
