// Decode codestreams as OHIF does: node htj2k_decoder.js PACKAGES FILE…, one JSON line a file, the
// samples into FILE.raw.
const { createRequire } = require('module')
const fs = require('fs')

const [packages, ...files] = process.argv.slice(2)
const load = createRequire(packages + '/')('@cornerstonejs/codec-openjph')

load().then((codec) => {
  for (const file of files) {
    const stream = fs.readFileSync(file)
    const decoder = new codec.HTJ2KDecoder()
    decoder.getEncodedBuffer(stream.length).set(stream)
    decoder.decode()
    fs.writeFileSync(file + '.raw', Buffer.from(decoder.getDecodedBuffer()))
    const { bitsPerSample, isSigned, width, height, componentCount } = decoder.getFrameInfo()
    console.log(JSON.stringify({ bitsPerSample, isSigned, width, height, componentCount }))
    decoder.delete()
  }
})
