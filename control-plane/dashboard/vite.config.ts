import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [svelte()],
  base: "/",
  build: {
    target: "es2022",
    // Everything has a name with a hash; the policy allows nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // One file for all pages: what is loaded later is a script alone, and can be asked for again.
    cssCodeSplit: false,
    // A small part that several pages share costs more as a request of its own than as bytes.
    rollupOptions: { output: { experimentalMinChunkSize: 12_000 } },
    reportCompressedSize: false,
  },
  server: {
    // For development only: `npm run dev` against a control plane with --http-listen.
    proxy: { "/api": { target: process.env.MUSTER_URL ?? "http://127.0.0.1:8080", changeOrigin: true } },
  },
});
