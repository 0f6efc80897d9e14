// Independent JavaScript clients against a node: node clients.js WHAT {"port": …}, one JSON line out.
const { createRequire } = require('module')
const fs = require('fs')

const what = process.argv[2]
const told = JSON.parse(process.argv[3])
const from = createRequire(told.packages + '/')

function dimse (requests) {
  const { Client, responses, constants } = from('dcmjs-dimse')
  const client = new Client()
  const heard = { statuses: [], found: [], received: [] }
  for (const request of requests) {
    request.on('response', (response) => {
      heard.statuses.push(response.getStatus())
      if (response.hasDataset()) heard.found.push(response.getDataset().getElements())
    })
    client.addRequest(request)
  }
  client.on('cStoreRequest', (request, callback) => {
    heard.received.push(request.getAffectedSopInstanceUid())
    const response = responses.CStoreResponse.fromRequest(request)
    response.setStatus(constants.Status.Success)
    callback(response)
  })
  const fail = (why) => { console.error(String(why)); process.exit(1) }
  client.on('networkError', fail)
  client.on('associationRejected', (result) => fail('rejected ' + JSON.stringify(result)))
  client.on('closed', () => { console.log(JSON.stringify(heard)); process.exit(0) })
  const secure = told.tls && {
    securityOptions: {
      key: fs.readFileSync(told.tls.key),
      cert: fs.readFileSync(told.tls.certificate),
      ca: fs.readFileSync(told.tls.trusted)
    }
  }
  client.send('127.0.0.1', told.port, told.calling, told.called, secure || {})
}

function find (kind, keys) {
  const { CFindRequest } = from('dcmjs-dimse').requests
  const request = CFindRequest[kind](keys)
  // It writes an empty number as a zero, which asks for a value; and it takes the answer to that,
  // FF01, for the end, so that it releases before the answers are through.
  delete request.getDataset().getElements().PregnancyStatus
  dimse([request])
}

const asks = {
  echo: () => dimse([new (from('dcmjs-dimse').requests.CEchoRequest)()]),
  store: () => dimse([new (from('dcmjs-dimse').requests.CStoreRequest)(told.file)]),
  find: () => find('createStudyFindRequest', { PatientID: told.patient, StudyInstanceUID: '' }),
  worklist: () => find('createWorklistFindRequest', { PatientID: told.patient, AccessionNumber: '' }),
  get: () => dimse([from('dcmjs-dimse').requests.CGetRequest.createStudyGetRequest(told.study)]),
  move: () => dimse([
    from('dcmjs-dimse').requests.CMoveRequest.createStudyMoveRequest(told.destination, told.study)
  ]),
  dicomweb: async () => {
    global.XMLHttpRequest = from('xhr2')
    const { api } = from('dicomweb-client')
    const client = new api.DICOMwebClient({
      url: told.url, headers: { Authorization: 'Bearer ' + told.token }
    })
    const { buffer, byteOffset, byteLength } = fs.readFileSync(told.file)
    const file = buffer.slice(byteOffset, byteOffset + byteLength)
    await client.storeInstances({ datasets: [file] })
    const found = await client.searchForStudies({ queryParams: { PatientID: told.patient } })
    const series = await client.searchForSeries({ studyInstanceUID: told.study })
    const metadata = await client.retrieveStudyMetadata({ studyInstanceUID: told.study })
    const whole = await client.retrieveStudy({ studyInstanceUID: told.study })
    console.log(JSON.stringify({
      studies: found.map((each) => each['0020000D'].Value[0]),
      series: series.length,
      metadata: metadata.length,
      bytes: whole.map((each) => each.byteLength)
    }))
  }
}

Promise.resolve(asks[what]()).catch((error) => {
  console.error(error.message || String(error))
  process.exit(1)
})
