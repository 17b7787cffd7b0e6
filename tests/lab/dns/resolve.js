// SPDX-License-Identifier: Apache-2.0
// resolve.c's output by Node's dns.resolve4 and resolve6, which are c-ares and know no search list.
'use strict';
const dns = require('dns').promises;

const lookUps = {
  4: (name) => dns.resolve4(name),
  6: (name) => dns.resolve6(name),
  any: async (name) => {
    const both = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)]);
    const found = both.filter((one) => one.status === 'fulfilled').flatMap((one) => one.value);
    if (found.length === 0) throw both[0].reason;
    return found;
  },
};

(async () => {
  for (const argument of process.argv.slice(2)) {
    const [family, name] = argument.split(':');
    const start = performance.now();
    const result = await lookUps[family](name).then((found) => found.sort().join(','), (error) => error.code);
    console.log(family, name, result, Math.round(performance.now() - start));
  }
})();
