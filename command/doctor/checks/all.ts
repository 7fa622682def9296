/** All checks, by group. */
import { CHECK_GROUPS, type Check } from "../finding.ts";
import { addressUse, leakedAddresses, outsidePods } from "./addresses.ts";
import { backendChecks } from "./backends.ts";
import {
  bridgeAddress,
  bridgePorts,
  checksumOffload,
  dataPath,
  foreignRoutes,
  mtu,
  pathMtu,
  podBridge,
  silentPeers,
  subnetOverlap,
  tunnel,
} from "./data-path.ts";
import { forwardDrop, leftChains, legacyForward, nodeRules } from "./firewall.ts";
import {
  bridgeFilter,
  connectionTable,
  ipForwarding,
  kernelFeatures,
  kernelVersion,
  neighbourLimits,
  reversePath,
  routerAdvertisements,
} from "./kernel.ts";
import { leftDevices, networkManager, otherNetworks, systemdNetworkd } from "./others.ts";
import { podKinds } from "./pod-kinds.ts";
import { podRules } from "./pod-rules.ts";
import {
  policyBridgeFilter,
  policyEngines,
  policyIpvs,
  policyMode,
  policyObjects,
  policySync,
  stalePolicies,
} from "./policies.ts";
import { conflistAccepted, conflistFirst, conflistSubnets, conflistValid, plugins, room } from "./runtime.ts";
import {
  externalIps,
  kubeProxy,
  serviceClaims,
  serviceKernel,
  serviceRanges,
  serviceRoom,
  servicesSync,
  staleServices,
} from "./services.ts";
import { nodeTable, peers, weftdAlive, weftdReady } from "./weftd.ts";

const ALL: readonly Check[] = [
  ...[kernelVersion, kernelFeatures, bridgeFilter, ipForwarding, routerAdvertisements, reversePath],
  ...[neighbourLimits, connectionTable],
  ...[weftdAlive, weftdReady, nodeTable, peers],
  ...[dataPath, podBridge, podKinds, bridgeAddress, bridgePorts, mtu, foreignRoutes, subnetOverlap],
  ...[pathMtu, tunnel, silentPeers, checksumOffload],
  ...[nodeRules, podRules, forwardDrop, legacyForward],
  ...backendChecks,
  ...[serviceKernel, servicesSync, staleServices, kubeProxy, serviceRanges, serviceRoom, serviceClaims, externalIps],
  ...[policySync, stalePolicies, policyObjects, policyMode, policyBridgeFilter, policyEngines, policyIpvs],
  ...[conflistFirst, conflistValid, conflistAccepted, conflistSubnets, plugins, room],
  ...[leakedAddresses, outsidePods, addressUse],
  ...[leftDevices, leftChains, otherNetworks, systemdNetworkd, networkManager],
];

export const CHECKS: readonly Check[] = CHECK_GROUPS.flatMap((group) => ALL.filter((check) => check.group === group));
