//! What the control plane offers admins and their programs: REST, gRPC and SSE over the same nouns.

pub mod model;
