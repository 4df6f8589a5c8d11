import "./app.css";
import { arrival } from "./arrived";
import { mount } from "svelte";
import App from "./App.svelte";
import { prefetch } from "./pages";
import { route } from "./state/route.svelte";

// Whoever follows a link shows its token first.
prefetch(route.parts, arrival.token === null);

const target = document.getElementById("app");
if (target) mount(App, { target });
