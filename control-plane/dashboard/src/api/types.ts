// The API's types by short names.
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Vm = Schemas["Vm"];
export type Summary = Schemas["Summary"];
export type FleetEvent = Schemas["FleetEvent"];
export type Command = Schemas["Command"];
export type CommandLine = Schemas["CommandLine"];
export type Session = Schemas["Session"];
export type Me = Schemas["Me"];
export type Facts = Schemas["Facts"];
export type Environment = Schemas["Environment"];
export type Project = Schemas["Project"];
export type Quota = Schemas["Quota"];
export type QuotaUse = Schemas["QuotaUse"];
export type MetricsRetention = Schemas["MetricsRetention"];
export type MetricsRetentionOwn = Schemas["MetricsRetentionOwn"];
export type SshKeyPair = Schemas["SshKeyPair"];
export type SshKeyPairCreated = Schemas["SshKeyPairCreated"];
export type Member = Schemas["Member"];
export type User = Schemas["User"];
export type AuditEntry = Schemas["AuditEntry"];
export type AuditVerified = Schemas["AuditVerified"];
export type ApiToken = Schemas["ApiToken"];
export type OpenSession = Schemas["OpenSession"];
export type JoinTokenCreated = Schemas["JoinTokenCreated"];
export type ConnectionTested = Schemas["ConnectionTested"];
export type VmStats = Schemas["VmStats"];
export type FleetRun = Schemas["FleetRun"];
export type FleetTask = Schemas["FleetTask"];
export type SshKeyRotation = Schemas["SshKeyRotation"];
export type RotationBegun = Schemas["RotationBegun"];
export type LoginRequest = Schemas["LoginRequest"];

/** A readiness check as a preflight's stream tells it. */
export interface CheckResult {
  name: string;
  status: "passed" | "warning" | "failed";
  passed: boolean;
  fixable: boolean;
  evidence: string;
  remedy?: string;
}

export type Permission = string;
