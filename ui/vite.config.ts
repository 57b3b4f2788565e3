import { defineConfig } from 'vite'

export default defineConfig({
  base: '/console/',
  build: {
    target: 'es2022',
    // Inlined data: URLs and the module-preload shim would need a laxer Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
  },
  server: { proxy: { '/apis': 'http://127.0.0.1:8480', '/neap': 'http://127.0.0.1:8480' } },
})
