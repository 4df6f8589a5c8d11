// One request for what a server's page begins with; a container's page fetches the same for its charts.
export { default as Overview } from "./Overview.svelte";
export { default as Charts } from "../../charts/Charts.svelte";
