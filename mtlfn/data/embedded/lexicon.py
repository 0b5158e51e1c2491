"""Words of the clinic: what is a disorder, what only looks like one, and where in the body it may be."""

from __future__ import annotations

LEXICON = """
disease+: pneumonia | asthma | diabetes | hepatitis | cirrhosis | CHF | COPD | hypertension | atrial fibrillation
    | gout | sepsis | dementia | epilepsy | anemia | pancreatitis | UTI | hypothyroidism | migraine | lupus
    | cellulitis | depression | stroke | influenza | tuberculosis | osteoporosis | GERD | psoriasis | CAD
    | colitis | meningitis | sleep apnea | prostate cancer | breast cancer | peripheral vascular disease | DVT
    | pulmonary embolism | ESRD | parkinsonism | endocarditis | diverticulitis | rheumatoid arthritis | hyponatremia
    | bronchitis | alcoholism | aortic stenosis | lymphoma | schizophrenia | hyperkalemia | mitral regurgitation
    | appendicitis | coronary artery disease | iron deficiency | respiratory failure | acute renal failure
    | urinary retention | heart block | septic shock | panic disorder | HIV | thrombocytopenia
symptom+: fever | chest pain | nausea | shortness of breath | dizziness | vomiting | headache | chills | cough
    | diarrhea | night sweats | fatigue | palpitations | wheezing | back pain | syncope | confusion | weight loss
    | constipation | blurred vision | dyspnea on exertion | leg cramps | insomnia | itching | rash
    | abdominal pain | melena | chest pressure | weakness | loss of appetite | SOB | hallucinations | sore throat
finding+: effusion | mass | edema | fracture | stenosis | swelling | nodule | hematoma | ulcer | infection | abscess
    | tear | opacity | atrophy | cyst | thrombus | hemorrhage | calcification | tenderness | infiltrate | pain
    | lesion | aneurysm | burn | contusion | hernia | erosion | polyp | dilatation | hypokinesis | stricture | growth
site+: knee | left ventricular | right hip | lung | pleural | ankle | abdominal | left lower lobe | liver | bladder
    | right atrial | gastric | lumbar spine | renal | left shoulder | wrist | colonic | aortic root | scalp
    | pericardial | right upper lobe | thyroid | foot | rectal | neck | subdural | pelvic | tibial | elbow
    | sigmoid | esophageal | heel
bodypart+: left knee | right hip | abdomen | lower back | left arm | chest | right foot | neck | left ventricle
    | scalp | pelvis | right lung | left shoulder | liver | jaw | right hand | left calf | bladder
    | sternum | right eye | groin | left ear | lumbar spine | duodenum | throat | right kidney | forearm | thighs
    | left heel | sacrum | cervix
normal: heart size | cardiac silhouette | mental status | gait | bowel pattern | sinus rhythm | ejection fraction
    | lung volume | renal function | liver function | skin turgor | pulse | thyroid gland | mitral valve
    | left atrium | aortic arch | appetite | speech | reflex pattern | the mediastinum
drug+: aspirin | metoprolol | warfarin | vancomycin | lisinopril | insulin | prednisone | morphine | furosemide
    | heparin | albuterol | levofloxacin | omeprazole | digoxin | sertraline | acetaminophen | simvastatin | cefazolin
    | gabapentin | metformin | oxycodone | allopurinol | clopidogrel | amiodarone
procedure+: colonoscopy | appendectomy | CABG | hip replacement | thoracentesis | intubation | hemodialysis | biopsy
    | cholecystectomy | pacemaker placement | lumbar puncture | tracheostomy | endoscopy | cardiac catheterization
    | skin graft | blood transfusion | hysterectomy | bronchoscopy | knee arthroscopy | stress test
scan+: chest x-ray | CT scan | echocardiogram | ultrasound | MRI | bone scan | PET scan | CT angiogram | plain film
    | follow-up MRI | portable x-ray | mammogram
lab+: urinalysis | blood culture | EKG | troponin | hematocrit | white count | creatinine | sputum culture | EEG
    | lactate | urine output | stool sample | hemoglobin | potassium
test: <scan> | <lab>
office: clinic | team | nurse | unit | service | support group | specialist | hotline | ward | foundation
    | outreach desk
paper: pathway | leaflet | screening | vaccine | panel | risk score | registry | protocol | questionnaire | precautions
    | study | action plan
person: the patient | patient | she | he | pt | the pt | Mr. <surname> | Ms. <surname> | this <#24-91> year old <sex>
sex: man | woman | male | female | gentleman | lady
surname+: Alder | Bramley | Coldwell | Dunmore | Eastman | Farrow | Gallant | Hobbs | Irwin | Jessop | Kersey | Lomax
    | Payne | Quill | Rusk | Shock | Block | Tern | Usher | Vickers
relative: mother | father | sister | brother | wife | son | husband | aunt
day: Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday
month: January | February | March | April | May | June | July | August | September | October | November | December
"""
