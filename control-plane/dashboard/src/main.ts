import "./app.css";
import "./arrived";
import { mount } from "svelte";
import App from "./App.svelte";
import { prefetch } from "./pages";
import { route } from "./state/route.svelte";

prefetch(route.parts);

const target = document.getElementById("app");
if (target) mount(App, { target });
