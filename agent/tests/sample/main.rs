//! The sampler against recorded hosts and this one, and its documentation against its tables.

mod cgroup_v1;
mod cgroup_v2;
mod documentation;
mod live;
