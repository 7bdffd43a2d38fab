# SPDX-License-Identifier: Apache-2.0
# A package is packed, served as a registry would, and installed by a lock file.
# shellcheck shell=sh
mkdir -p dep served/dep/-
echo '{"name": "dep", "version": "1.0.0", "main": "index.js"}' >dep/package.json
echo 'module.exports = "from the registry"' >dep/index.js
(cd dep && npm pack --silent)
mv dep/dep-1.0.0.tgz served/dep/-/
serve served 4873
mkdir project
cd project
cat >package.json <<'JSON'
{"name": "p", "version": "1.0.0", "dependencies": {"dep": "1.0.0"}}
JSON
cat >package-lock.json <<'JSON'
{
    "name": "p",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "p", "version": "1.0.0", "dependencies": {"dep": "1.0.0"}},
        "node_modules/dep": {"version": "1.0.0", "resolved": "http://127.0.0.1:4873/dep/-/dep-1.0.0.tgz"}
    }
}
JSON
npm ci --registry http://127.0.0.1:4873 --no-audit --no-fund
node -e 'console.log(require("dep"))'
