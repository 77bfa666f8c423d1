"""How the documentation page looks, and what it does when asked."""

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:#2563eb}
@media(prefers-color-scheme:dark){:root{--link:#7aa7ff}}
body{margin:0;font:15px/1.5 system-ui,sans-serif;display:grid;grid-template-columns:16rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1rem;box-sizing:border-box;
border-right:1px solid var(--line)}
nav h1{font-size:1.1rem;margin:0 0 .5rem}
nav h3{font-size:.75rem;letter-spacing:.06em;text-transform:uppercase;opacity:.6;
margin:.9rem 0 .1rem}nav ul{list-style:none;padding:0;margin:0}
nav input{width:100%;box-sizing:border-box;padding:.4rem}
nav p{margin:.4rem 0;opacity:.7;min-height:1.5em}main{padding:1rem 2rem;max-width:75rem}a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
.graph{overflow:auto;border:1px solid var(--line);border-radius:8px;padding:1rem;margin-bottom:2rem}
svg{max-width:100%;height:auto}
svg path{fill:none;stroke:#888a;stroke-width:1.2}
svg rect{fill:color-mix(in srgb,#2563eb 12%,Canvas);stroke:#2563eb}
svg .source rect{fill:color-mix(in srgb,#888 12%,Canvas);stroke:#888}
svg .incremental rect,svg .python rect,svg .table rect{fill:color-mix(in srgb,#16a34a 12%,Canvas);stroke:#16a34a}
svg text{font:12px ui-monospace,monospace;fill:currentColor}
.entry{border-top:1px solid var(--line);padding:.5rem 0 1.5rem;scroll-margin-top:.5rem}
h2{font:600 1.1rem ui-monospace,monospace;margin:.6rem 0}
.facts{opacity:.8}table{border-collapse:collapse;width:100%;font-size:.9em;margin:.6rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line)}
td:first-child{font-family:ui-monospace,monospace}pre{overflow:auto;background:var(--soft);padding:1rem;border-radius:6px;font-size:.85em}
@media(max-width:50rem){body{display:block}nav{position:static;height:auto;border:0}main{padding:1rem}}
svg .faint{opacity:.15}svg path.lit{stroke:var(--link);stroke-width:2}
.legend,.hint{opacity:.75;font-size:.9em;margin:.6rem 0 0}.key{padding:.05rem .5rem;border-radius:4px;
border:1px solid #888;margin-left:.6rem}
.key.view{border-color:#2563eb}.key.stored{border-color:#16a34a}
td button{font:inherit;background:none;border:0;padding:0;color:inherit;cursor:pointer;text-decoration:underline dotted}
tr:target{background:color-mix(in srgb,var(--link) 14%,Canvas)}tr{scroll-margin-top:1rem}
.path{font:.85em/1.6 ui-monospace,monospace;background:var(--soft);padding:.6rem 1rem;border-radius:6px;white-space:pre-wrap}
"""

SCRIPT = """
const box=document.getElementById('search'),count=document.getElementById('count');
const entries=[...document.querySelectorAll('.entry')].map(e=>[e,e.textContent.toLowerCase()]);
const rows=new Map([...document.querySelectorAll('nav li')].map(li=>[li.dataset.name,li]));
function find(){const words=box.value.toLowerCase().split(/\\s+/).filter(Boolean);let shown=0;
for(const [entry,text] of entries){const hit=words.every(w=>text.includes(w));
entry.hidden=!hit;rows.get(entry.id).hidden=!hit;shown+=hit}
count.textContent=words.length?shown+' of '+entries.length:''}
box.addEventListener('input',find);
addEventListener('hashchange',()=>{const e=document.getElementById(decodeURIComponent(location.hash.slice(1)));
const entry=e&&e.closest('.entry');if(entry&&entry.hidden){box.value='';find();e.scrollIntoView()}});

// A column's way down: every column that it is made from, each once.
function upstream(key,depth,seen,lines){const row=document.getElementById(key);if(!row)return;
const from=row.dataset.from.split(' ').filter(Boolean),again=seen.has(key)&&from.length>0;seen.add(key);
lines.push('  '.repeat(depth)+key+(again?' (see above)':from[0]==='unresolved'?' (unresolved)':'')
+(again?'':': '+row.cells[3].textContent+' ['+row.cells[2].textContent+']'));
if(!again)for(const name of from)upstream(name,depth+1,seen,lines)}
document.addEventListener('click',event=>{const button=event.target.closest('td button');if(!button)return;
const row=button.closest('tr'),below=row.nextElementSibling;
if(below&&below.classList.contains('opened')){below.remove();return}
const lines=[];upstream(row.id,0,new Set(),lines);
const opened=document.createElement('tr'),cell=document.createElement('td'),text=document.createElement('div');
opened.className='opened';cell.colSpan=5;text.className='path';text.textContent=lines.join('\\n');
cell.append(text);opened.append(cell);row.after(opened)});

// Pointing at a box lights what it is made from and what reads it, however far.
const boxes=[...document.querySelectorAll('svg a')],edges=[...document.querySelectorAll('svg path')];
function reached(name,start,end){const found=new Set([name]);let grown=true;
while(grown){grown=false;for(const e of edges)
if(found.has(e.dataset[start])&&!found.has(e.dataset[end])){found.add(e.dataset[end]);grown=true}}
return found}
function light(name){const up=name?reached(name,'to','from'):0,down=name?reached(name,'from','to'):0;
for(const b of boxes)b.classList.toggle('faint',!!name&&!up.has(b.dataset.name)&&!down.has(b.dataset.name));
for(const e of edges){const lit=!!name&&(
up.has(e.dataset.to)&&up.has(e.dataset.from)||down.has(e.dataset.from)&&down.has(e.dataset.to));
e.classList.toggle('lit',lit);e.classList.toggle('faint',!!name&&!lit)}}
for(const b of boxes){for(const on of ['mouseenter','focus'])b.addEventListener(on,()=>light(b.dataset.name));
for(const off of ['mouseleave','blur'])b.addEventListener(off,()=>light(''))}
"""
