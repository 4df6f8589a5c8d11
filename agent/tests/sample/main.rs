//! The sampler against recorded hosts, and its documentation against its tables.

mod cgroup_v2;
mod documentation;
