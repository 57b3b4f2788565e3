import { render } from 'preact'
render(<h1>Neap</h1>, document.getElementById('app')!)
